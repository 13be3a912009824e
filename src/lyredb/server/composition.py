"""Which protocols there are: every plugin that is installed, found by its entry point."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeAlias

from lyredb.errors import SettingError
from lyredb.plugins.scope import ProtocolPlugin
from lyredb.protocols.http.settings import HTTP_SETTINGS
from lyredb.protocols.net import NET_SETTINGS
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator
from lyredb.server.core_settings import CORE_SETTINGS
from lyredb.server.login_settings import LOGIN_SETTINGS
from lyredb.server.operation_settings import OPERATION_SETTINGS
from lyredb.server.settings import SettingsTable

GROUP: Final = "lyredb.protocols"

Plugin: TypeAlias = ProtocolPlugin[Database, Authenticator]


def find_plugins() -> list[Plugin]:
    """Make one instance of each installed plugin, in the order of their names.

    Raises:
        SettingError: Two distributions bring a plugin of the same name, or one cannot
            be imported.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise SettingError(point.name, f"two plugins: {other.value} and {point.value}")
    return [_load(found[name]) for name in sorted(found)]


def _load(point: EntryPoint) -> Plugin:
    try:
        plugin: Any = point.load()
    except (ImportError, AttributeError) as error:
        problem = f"the plugin {point.value} does not load: {error}"
        raise SettingError(point.name, problem) from error
    made: Plugin = plugin()
    return made


def settings_table(plugins: Sequence[Plugin] | None = None) -> SettingsTable:
    """Return the rows of the core, of connections, of HTTP and of each plugin as one table."""
    found = find_plugins() if plugins is None else plugins
    rows = [*CORE_SETTINGS, *LOGIN_SETTINGS, *OPERATION_SETTINGS, *NET_SETTINGS, *HTTP_SETTINGS]
    for plugin in found:
        rows.extend(plugin.settings)
    return SettingsTable(rows)
