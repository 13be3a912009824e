"""Which rooms count, under which name, and how their numbers are found in a process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lyredb.delivery.hub import HubStatistics
from lyredb.delivery.peers.attached import PeersStatistics
from lyredb.protocols.http.statistics import HttpStatistics, StreamStatistics
from lyredb.protocols.mqtt.statistics import MqttStatistics
from lyredb.protocols.net.network import NetworkStatistics
from lyredb.security.authenticator import AuthenticatorStatistics
from lyredb.server.metrics.process import ProcessStatistics, process_statistics
from lyredb.server.metrics.snapshot import Source
from lyredb.server.node import Node
from lyredb.server.store import Store
from lyredb.sessions.claims_service import ClaimsStatistics
from lyredb.storage.engine_statistics import EngineStatistics
from lyredb.storage.expiry import ExpiryStatistics
from lyredb.storage.remote.client import RemoteStatistics
from lyredb.storage.writer import WriterStatistics

ROOMS: Final[Mapping[str, type]] = {
    "process": ProcessStatistics,
    "engine": EngineStatistics,
    "writer": WriterStatistics,
    "expiry": ExpiryStatistics,
    "remote": RemoteStatistics,
    "claims": ClaimsStatistics,
    "hub": HubStatistics,
    "peers": PeersStatistics,
    "network": NetworkStatistics,
    "authenticator": AuthenticatorStatistics,
    "http": HttpStatistics,
    "operations": HttpStatistics,
    "sse": StreamStatistics,
    "websocket": StreamStatistics,
    "mqtt": MqttStatistics,
}
"""What each room's ``statistics()`` returns."""


def store_sources(store: Store) -> dict[str, Source]:
    """Return what is where the store is written, the process itself included."""
    sources: dict[str, Source] = {
        "process": process_statistics,
        "engine": store.engine.statistics,
        "writer": store.writer.statistics,
        "expiry": store.expiry.statistics,
    }
    if store.claims is not None:
        sources["claims"] = store.claims.statistics
    return sources


def node_sources(node: Node) -> dict[str, Source]:
    """Return what a process with a node has; with the store's where it is the same one."""
    sources: dict[str, Source] = {
        "process": process_statistics,
        "engine": node.engine.statistics,
        "hub": node.hub.statistics,
        "peers": node.hub.peers.statistics,
    }
    if node.remote is not None:
        sources["remote"] = node.remote.statistics
    return sources if node.store is None else sources | store_sources(node.store)


def plugin_sources(plugins: Iterable[object]) -> dict[str, Source]:
    """Return the statistics of each plugin that offers some, by the plugin's name."""
    return {
        str(getattr(plugin, "name", type(plugin).__name__)): statistics
        for plugin in plugins
        if callable(statistics := getattr(plugin, "statistics", None))
    }
