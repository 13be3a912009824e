"""Bridges to other brokers, as a file says them: addresses, logins, which topics go where.

::

    cloud:
      url: mqtts://broker.example.com
      username: site7
      passwordFile: /etc/lyredb/cloud.password
      topics:
        - {filter: "sensors/#", direction: out, qos: 1, remotePrefix: "site7/"}
        - {filter: "commands/#", direction: in, qos: 1, remotePrefix: "site7/"}
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from lyredb.delivery.filters import matches, parse_filter
from lyredb.errors import InvalidBody, InvalidTopic, SettingError
from lyredb.formats.yaml_text import load_yaml

SETTING: Final = "mqtt.bridges"
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class BridgeTopic(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True
):
    """Which topics are brought over.

    Attributes:
        filter: A topic filter without the prefixes.
        direction: ``out`` to the other broker, ``in`` from it.
        qos: 0 to 2; messages are not brought with a higher one.
        local_prefix: Stands before the topic here.
        remote_prefix: Stands before it there.
    """

    filter: str
    direction: Literal["in", "out", "both"] = "out"
    qos: Literal[0, 1, 2] = 1
    local_prefix: str = ""
    remote_prefix: str = ""


class Bridge(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One other broker.

    Attributes:
        url: ``mqtt://host:port`` or ``mqtts://…`` for TLS.
        topics: What is brought over; a message goes by the first that fits.
        username: There; ``""`` for nobody.
        password: In the file, or by ``password_file``, of which the first line counts.
        password_file: See there.
        client_id: There; ``lyredb-`` and the bridge's name by default.
        version: Of the protocol, 5 or 4 (3.1.1).
        keep_alive_s: Seconds.
        max_packet_size: Bytes of the largest packet that the other broker takes, 0 for any.
            One of version 5 says it itself.
        local_user: Whose rights the bridge has here; everybody's by default.
        ca_file: Authorities that the other broker's certificate comes from; the system's by
            default.
        cert_file: A certificate of our own, with ``key_file``.
        key_file: See there.
    """

    url: str
    topics: list[BridgeTopic]
    username: str = ""
    password: str = ""
    password_file: str = ""
    client_id: str = ""
    version: Literal[4, 5] = 5
    keep_alive_s: int = 60
    max_packet_size: Annotated[int, msgspec.Meta(ge=0)] = 0
    local_user: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __repr__(self) -> str:
        return f"Bridge({self.url!r})"

    @property
    def is_secure(self) -> bool:
        """Whether it is reached over TLS."""
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]


class Way:
    """The topics that a bridge brings into one direction.

    Args:
        topics: Of the bridge.
        outwards: From here to the other broker, else from there.
    """

    def __init__(self, topics: list[BridgeTopic], *, outwards: bool) -> None:
        wanted = ("out", "both") if outwards else ("in", "both")
        self._rules = []
        self.filters: list[tuple[str, int]] = []
        for topic in topics:
            if topic.direction not in wanted:
                continue
            source, target = topic.local_prefix, topic.remote_prefix
            if not outwards:
                source, target = target, source
            self.filters.append((source + topic.filter, topic.qos))
            levels = parse_filter(source + topic.filter)
            self._rules.append((levels, len(source), target, topic.qos))

    def map(self, topic: str) -> tuple[str, int] | None:
        """Return the topic at the other side and the highest QoS, None for no such message.

        ``a/#`` matches ``a`` too: without the prefix ``a/`` that is no topic, and left out.
        """
        encoded = topic.encode()
        for levels, cut, target, qos in self._rules:
            if matches(levels, encoded):
                mapped = target + topic[cut:]
                return (mapped, qos) if mapped else None
        return None


def read_bridges(written: str) -> dict[str, Bridge]:
    """Return the bridges that the setting names, by name; none for ``""``.

    Raises:
        SettingError: The file cannot be read, or something in it is wrong.
    """
    if not written:
        return {}
    try:
        tree = load_yaml(Path(written).read_text(encoding="utf-8"))
        bridges = msgspec.convert(tree or {}, dict[str, Bridge])
        for name, bridge in bridges.items():
            _check(name, bridge)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(SETTING, f"{written} cannot be read: {error}") from error
    except (InvalidBody, InvalidTopic, ValueError) as error:  # msgspec's too
        raise SettingError(SETTING, f"{written}: {error}") from error
    return bridges


def _check(name: str, bridge: Bridge) -> None:
    parts = urlsplit(bridge.url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.path:
        raise ValueError(f"{name}: the url must be mqtt://host:port or mqtts://host:port")
    if bridge.password and bridge.password_file:
        raise ValueError(f"{name}: give a password or a passwordFile")
    if not bridge.topics:
        raise ValueError(f"{name}: name the topics")
    for topic in bridge.topics:
        for prefix in (topic.local_prefix, topic.remote_prefix):
            if "+" in prefix or "#" in prefix:
                raise ValueError(f"{name}: a prefix has no wildcards, not {prefix!r}")
            parse_filter(prefix + topic.filter)
    password_of(bridge)
    tls_of(bridge)


def password_of(bridge: Bridge) -> str:
    """Return the password for the other broker.

    Raises:
        OSError: Its file cannot be read.
    """
    if not bridge.password_file:
        return bridge.password
    return Path(bridge.password_file).read_text(encoding="utf-8").partition("\n")[0]


def tls_of(bridge: Bridge) -> ssl.SSLContext | None:
    """Return the context for TLS, None without.

    Raises:
        OSError: A file cannot be read, or is none for TLS.
    """
    if not bridge.is_secure:
        return None
    context = ssl.create_default_context(cafile=bridge.ca_file or None)
    if bridge.cert_file:
        context.load_cert_chain(bridge.cert_file, bridge.key_file or None)
    return context
