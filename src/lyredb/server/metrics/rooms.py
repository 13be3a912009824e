"""Which rooms count, under which name, and how their numbers are found in a process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lyredb.delivery.hub import HubStatistics
from lyredb.protocols.http.statistics import HttpStatistics
from lyredb.protocols.mqtt.statistics import MqttStatistics
from lyredb.security.authenticator import AuthenticatorStatistics
from lyredb.server.metrics.process import ProcessStatistics
from lyredb.server.metrics.snapshot import Source
from lyredb.storage.engine import EngineStatistics
from lyredb.storage.writer import WriterStatistics

ROOMS: Final[Mapping[str, type]] = {
    "process": ProcessStatistics,
    "engine": EngineStatistics,
    "writer": WriterStatistics,
    "hub": HubStatistics,
    "authenticator": AuthenticatorStatistics,
    "http": HttpStatistics,
    "operations": HttpStatistics,
    "mqtt": MqttStatistics,
}
"""What each room's ``statistics()`` returns."""


def plugin_sources(plugins: Iterable[object]) -> dict[str, Source]:
    """Return the statistics of each plugin that offers some, by the plugin's name."""
    return {
        str(getattr(plugin, "name", type(plugin).__name__)): statistics
        for plugin in plugins
        if callable(statistics := getattr(plugin, "statistics", None))
    }
