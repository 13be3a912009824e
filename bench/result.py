"""What the bench found: a few numbers a round, and a comparison of two servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement of one server.

    Attributes:
        work: What was done, in units of the scenario.
        frames_per_read: MQTT frames a subscriber got per ``recv``; 0 where there is none.
        trouble: Loss, disorder, errors or a failure, in words; empty is good.
    """

    work: int = 0
    wall_s: float = 0.0
    server_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    frames_per_read: float = 0.0
    trouble: str = ""

    @property
    def per_cpu_s(self) -> float:
        return self.work / self.server_cpu_s if self.server_cpu_s else 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """The rounds of one server in a scenario."""

    name: str
    rounds: Sequence[Round]

    @property
    def per_cpu_s(self) -> float:
        """Work per server CPU second over all rounds."""
        return self._sum("work") / cpu if (cpu := self._sum("server_cpu_s")) else 0.0

    @property
    def per_wall_s(self) -> float:
        return self._sum("work") / wall if (wall := self._sum("wall_s")) else 0.0

    @property
    def load_share(self) -> float:
        """CPU of the load per CPU of the server."""
        cpu = self._sum("server_cpu_s")
        return self._sum("load_cpu_s") / cpu if cpu else 0.0

    @property
    def load_busy(self) -> float:
        """CPU of the load per second of the clock: near 1 the load was the bottleneck."""
        wall = self._sum("wall_s")
        return self._sum("load_cpu_s") / wall if wall else 0.0

    @property
    def spread(self) -> float:
        """How far the rounds are apart, as a part of their mean."""
        rates = [each.per_cpu_s for each in self.rounds if each.work]
        return (max(rates) - min(rates)) / self.per_cpu_s if len(rates) > 1 else 0.0

    @property
    def frames_per_read(self) -> float:
        found = [each.frames_per_read for each in self.rounds if each.frames_per_read]
        return sum(found) / len(found) if found else 0.0

    @property
    def trouble(self) -> str:
        return "; ".join(dict.fromkeys(each.trouble for each in self.rounds if each.trouble))

    def _sum(self, name: str) -> float:
        return float(sum(getattr(each, name) for each in self.rounds))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A scenario's outcome.

    Attributes:
        unit: What ``work`` counts.
        conditions: Burst, window, sizes, durability: what the figure depends on.
        wanted: The ratio that LyreDB wants to reach, or None.
    """

    name: str
    unit: str
    conditions: str
    subject: Side
    peer: Side
    wanted: float | None = None

    @property
    def ratio(self) -> float | None:
        """LyreDB's work per CPU second in multiples of the peer's."""
        peer = self.peer.per_cpu_s
        return self.subject.per_cpu_s / peer if peer and self.subject.per_cpu_s else None

    @property
    def trouble(self) -> str:
        sides = (self.subject, self.peer)
        return "; ".join(f"{side.name}: {side.trouble}" for side in sides if side.trouble)


@dataclass(slots=True)
class Report:
    """Everything of one run of the bench."""

    conditions: str
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def has_trouble(self) -> bool:
        return any(comparison.trouble for comparison in self.comparisons)
