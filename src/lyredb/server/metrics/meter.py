"""The metrics of a process that serves: told to the writer, answered on a port."""

from __future__ import annotations

from collections.abc import Mapping

from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.server import HttpServer
from lyredb.server.metrics.endpoint import PRIORITY, MetricsEndpoint
from lyredb.server.metrics.exchange import Reporter
from lyredb.server.metrics.rooms import node_sources
from lyredb.server.metrics.snapshot import Snapshot, Source, Subject
from lyredb.server.node import Node


class Meter:
    """Takes the numbers of a node and what is around it. `start` once, then `stop` once.

    Args:
        node: Of this process.
        sources: Of what is around it, by room.
        worker: Its number; 0 when this process is all.
    """

    def __init__(self, node: Node, sources: Mapping[str, Source], *, worker: int) -> None:
        name = "worker" if worker else "server"
        self._subject = Subject(name, node_sources(node) | dict(sources), worker)
        self._reporter = Reporter(node.calls if worker else None, self._subject)

    def take(self) -> Snapshot:
        """Return the numbers of this moment."""
        return self._subject.take()

    async def collected(self) -> list[Snapshot]:
        """Return the numbers of all processes; see `Reporter.collected`."""
        return await self._reporter.collected()

    def mount(self, port: HttpServer, login: Authentication, *, anonymous: str) -> None:
        """Answer ``/metrics`` on a port; ``anonymous`` is as in `MetricsEndpoint`."""
        endpoint = MetricsEndpoint(self._reporter.collected, login, anonymous=anonymous)
        port.mount("metrics", endpoint.wants, endpoint.answer, priority=PRIORITY)

    def start(self) -> None:
        """Tell the writer, once a second."""
        self._reporter.start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._reporter.stop()
