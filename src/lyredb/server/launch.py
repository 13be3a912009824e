"""What a server is to be: application, settings and mode, checked before anything opens."""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from lyredb.applications.application import CONFIG_FILE, Application, load_application
from lyredb.errors import SettingError
from lyredb.plugins.settings import AUTO, OFF, Setting
from lyredb.protocols.net.certificates import require_secure_port
from lyredb.server.composition import Plugin, find_plugins, settings_table
from lyredb.server.processors import usable_processors
from lyredb.server.settings import SettingsInForce
from lyredb.storage.settings import StorageSettings

Mode = Literal["dev", "run"]

DATA_FOLDERS: Final[Mapping[Mode, str]] = {"dev": ".lyredb", "run": "data"}
"""Below the application, so that the same data is found wherever one starts from; two
names, so that what was tried without credentials is not what is served with them."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from, so that a reload can read them again.

    Attributes:
        mode: Decides what is allowed.
        own: The application's file, which need not be there; looked for at each reading.
        config: One that was asked for; it wins.
        environment: Of the process that was started.
        flags: Options by name.
    """

    mode: Mode
    own: Path | None = None
    config: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, object] = field(default_factory=dict)

    def read(self, plugins: tuple[Plugin, ...]) -> SettingsInForce:
        """Return the settings in force, with the number of workers that ``auto`` means.

        Raises:
            SettingError: A setting is wrong, or not for this mode.
        """
        table = settings_table(plugins)
        own = self.own if self.own is not None and self.own.is_file() else None
        files = [file for file in (own, self.config) if file is not None]
        settings = table.load(files=files, environment=self.environment, flags=self.flags)
        _check(settings, self.mode)
        workers = _workers(settings, self.mode)
        return SettingsInForce({**settings.values(), "threads.count": workers})


@dataclass(frozen=True, slots=True)
class Launch:
    """A server to be started.

    Attributes:
        application: What it serves.
        settings: In force; ``threads.count`` is a number, never ``auto``.
        plugins: One instance of each protocol.
        data_dir: Absolute; made when missing.
        authorize_local: Loopback without credentials is the super user.
        sources: Of the settings.
        since_s: When it was made, by the machine's monotonic clock: of all processes alike.
    """

    application: Application
    settings: SettingsInForce
    plugins: tuple[Plugin, ...]
    data_dir: Path
    authorize_local: bool
    sources: Sources = Sources("dev")  # frozen
    since_s: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> tuple[Setting, ...]:
        """The table of settings, those of the plugins included."""
        return settings_table(self.plugins).rows

    @property
    def workers(self) -> int:
        """How many workers serve."""
        return self.settings.integer("threads.count")


def prepare_launch(
    folder: Path,
    *,
    mode: Mode,
    flags: Mapping[str, object],
    config: Path | None,
    environment: Mapping[str, str],
) -> Launch:
    """Load the application and read its settings.

    Raises:
        SchemaError: The application is wrong.
        SettingError: A setting is wrong, or not for this mode.
    """
    application = load_application(folder)
    plugins = tuple(find_plugins())
    own = application.folder / CONFIG_FILE
    sources = Sources(mode, own, config, dict(environment), dict(flags))
    settings = sources.read(plugins)
    written = settings.text("storage.path")
    data_dir = Path(written) if written else application.folder / DATA_FOLDERS[mode]
    return Launch(application, settings, plugins, data_dir.resolve(), mode == "dev", sources)


def _workers(settings: SettingsInForce, mode: Mode) -> int:
    """How many there are to be; one process has one, whatever a file says for ``run``."""
    wanted = settings.integer("threads.count")
    if mode == "dev":
        return 1
    if sys.platform != "linux":
        if wanted > 1:
            raise SettingError(
                "threads.count",
                f"got {wanted}; a server of several processes needs Linux",
                allowed="1",
            )
        return 1
    return usable_processors() if wanted == AUTO else wanted


def _check(settings: SettingsInForce, mode: Mode) -> None:
    host = settings.text("network.host")
    if not host:  # the system would take it for every interface
        raise SettingError("network.host", "got ''", allowed="an address; 0.0.0.0 for every one")
    if mode == "dev" and not is_loopback(host):
        raise SettingError(
            "network.host",
            f"got {host!r}, but dev asks for no credentials; use `lyredb run`",
            allowed="127.0.0.1, ::1 or localhost",
        )
    if settings.integer("http.port") == settings.integer("http.securePort") == OFF:
        raise SettingError("http.port", "off, as is http.securePort", allowed="one of them")
    require_secure_port(settings, "http")
    _check_sizes(settings)


def _check_sizes(settings: SettingsInForce) -> None:
    """Refuse a log that cannot fit. Its default is no wish: the store takes what fits."""
    log, most = settings.integer("storage.logSize"), settings.integer("storage.mapSize")
    if log > most and log != StorageSettings().retention_bytes:
        raise SettingError(
            "storage.logSize",
            f"got {log} bytes, but the log is in the data file, whose storage.mapSize is {most}",
            allowed=f"at most {most} bytes",
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
