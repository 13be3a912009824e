"""``mosquitto.conf``: which settings of ours say the same, and what has no such setting.

Nothing is passed over in silence: an option is a setting, is imported, needs nothing here, or
is told as left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lyredb.errors import InvalidInput

SettingValue = str | int | bool

_COUNTS: Final[Mapping[str, str]] = {
    "max_connections": "mqtt.maxConnections",
    "max_inflight_messages": "mqtt.maxInflight",
    "max_keepalive": "mqtt.maxKeepAlive",
    "max_packet_size": "mqtt.maxPacketSize",
    "message_size_limit": "mqtt.maxPacketSize",
    "max_queued_messages": "mqtt.maxQueued",
    "max_queued_bytes": "mqtt.maxQueuedSize",
    "max_topic_alias": "mqtt.topicAliasMaximum",
}
"""0 and -1 mean no limit there; then the default of ours stays, which is one."""
_FILES: Final[Mapping[str, str]] = {
    "certfile": "tls.certificate",
    "keyfile": "tls.privateKey",
    "cafile": "tls.certificateAuthority",
    "crlfile": "tls.certificateRevocationList",
}
_NEEDLESS: Final[Mapping[str, str]] = {
    "persistence": "everything that has to last is on disk",
    "persistence_file": "everything that has to last is on disk",
    "persistence_location": "the data directory is --data",
    "autosave_interval": "everything that has to last is on disk at its acknowledgement",
    "autosave_on_changes": "everything that has to last is on disk at its acknowledgement",
    "allow_duplicate_messages": "overlapping subscriptions get one copy, always",
    "allow_zero_length_clientid": "such clients get an identifier",
    "check_retain_source": "the rights of who wrote a record were checked when it was written",
    "connection_messages": "logins have lines of their own: logging.auditAuthEvents",
    "log_dest": "logs go to standard error",
    "log_facility": "logs go to standard error",
    "log_timestamp": "log lines have a time",
    "log_timestamp_format": "log lines have a time",
    "pid_file": "the process stays in the foreground, under a service manager",
    "per_listener_settings": "users and rights are the same on every listener",
    "set_tcp_nodelay": "it is always set",
    "user": "start it as the user that it shall run as",
    "use_identity_as_username": "the common name of a certificate is the user",
    "websockets_log_level": "there is one log",
    "retain_available": "retained messages are records",
    "upgrade_outgoing_qos": "the quality of service is the lower one of message and subscription",
}
_EVERYWHERE: Final = "0.0.0.0"
"""Where a listener without an address listens there; ours would be on loopback alone."""
_YES: Final = ("true", "1")


@dataclass(slots=True)
class MosquittoConfig:
    """What a configuration file says.

    Attributes:
        settings: Ours, by name.
        password_file: As named there.
        access_file: As named there.
        allows_anonymous: Clients without a user name are let in; ``None``: it does not say.
        needless: Options that need nothing here, each with the reason.
        left: Options that have no setting here, each with what to do.
    """

    settings: dict[str, SettingValue] = field(default_factory=dict)
    password_file: Path | None = None
    access_file: Path | None = None
    allows_anonymous: bool | None = None
    needless: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def read_config(file: Path) -> MosquittoConfig:
    """Read a configuration file, and those of its ``include_dir``.

    Raises:
        InvalidInput: It cannot be read, or a value is no number where one has to be.
    """
    reader = _Reader(file.name)
    for name, value in _options(file):
        reader.take(name, value)
    reader.end_listener()
    return reader.config


class _Reader:
    """Reads options in order: some belong to the listener before them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.config = MosquittoConfig()
        self._listener: dict[str, str] = {}
        self._is_bridge = False

    def take(self, name: str, value: str) -> None:
        config = self.config
        if name == "connection":
            self._is_bridge = True
            config.left.append(f"connection {value}: a bridge; see mqtt.bridges in docs/bridge.md")
        elif self._is_bridge and name not in ("listener", "port"):
            return  # of the bridge, which is told as a whole
        elif name in ("listener", "port"):
            self.end_listener()
            self._is_bridge = False
            self._listener = {"listener": value}
        elif name in ("protocol", *_FILES, "require_certificate", "bind_address"):
            self._listener[name] = value
        elif name == "password_file":
            config.password_file = Path(value)
        elif name == "acl_file":
            config.access_file = Path(value)
        elif name == "allow_anonymous":
            config.allows_anonymous = value in _YES
            config.settings["mqtt.requireAuthentication"] = value not in _YES
        elif name in _COUNTS:
            self._take_count(name, value)
        elif name == "persistent_client_expiration":
            self._take_duration(value)
        elif name in _NEEDLESS:
            config.needless.append(f"{name}: {_NEEDLESS[name]}")
        else:
            config.left.append(f"{name} {value}: has no setting here".replace(" :", ":"))

    def _take_count(self, name: str, value: str) -> None:
        try:
            count = int(value)
        except ValueError:
            raise InvalidInput(f"{self._file}: {name} must be a number") from None
        if count > 0:
            self.config.settings[_COUNTS[name]] = count
        else:
            self.config.left.append(f"{name} {value}: no limit; {_COUNTS[name]} always is one")

    def _take_duration(self, value: str) -> None:
        units = {"h": "h", "d": "d", "w": "w", "m": "m", "y": "y"}
        number, unit = value[:-1], value[-1:]
        days = {"d": 1, "w": 7, "m": 30, "y": 365}
        if not number.isdigit() or unit not in units:
            raise InvalidInput(
                f"{self._file}: persistent_client_expiration must be a number and h, d, w, m or y"
            )
        seconds = int(number) * (3600 if unit == "h" else days[unit] * 86_400)
        self.config.settings["mqtt.maxSessionExpiry"] = min(seconds, 0xFFFFFFFE)

    def end_listener(self) -> None:
        """Take what was said of the listener before."""
        given, self._listener = self._listener, {}
        settings = self.config.settings
        for name, setting in _FILES.items():
            if name in given:
                settings[setting] = given[name]
        if given.get("require_certificate") in _YES:
            settings["mqtt.network.mtls"] = "required"
        place = given.get("listener", "").split()
        host = given.get("bind_address") or " ".join(place[1:])
        if not host and place:
            host = _EVERYWHERE
        if host and place[:1] != ["0"]:
            self._set_once("network.host", host)
        if not place:
            return
        if place[0] == "0":
            self._set_once("mqtt.network.unixSocket", " ".join(place[1:]))
            return
        if not place[0].isdigit():
            raise InvalidInput(f"{self._file}: the port of a listener must be a number")
        is_secure = "certfile" in given
        if given.get("protocol") == "websockets":
            self._set_once("http.securePort" if is_secure else "http.port", int(place[0]))
        else:
            name = "mqtt.network.securePort" if is_secure else "mqtt.network.port"
            self._set_once(name, int(place[0]))

    def _set_once(self, name: str, value: SettingValue) -> None:
        known = self.config.settings.setdefault(name, value)
        if known != value:
            self._unmapped(f"{name} can be {known} only, not {value} as well")

    def _unmapped(self, told: str) -> None:
        self.config.left.append(told)


def _options(file: Path) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file.name} is no UTF-8 text") from error
    folders: list[Path] = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if name == "include_dir":
            folders.append(Path(value.strip()))
        else:
            yield name, value.strip()
    for folder in folders:  # read behind the file itself, by name, as mosquitto does
        for part in sorted(folder.glob("*.conf")):
            yield from _options(part)
