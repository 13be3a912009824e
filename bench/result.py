"""What the bench found: a few numbers a round, and a comparison of two servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement of one server.

    Attributes:
        work: What was done, in units of the scenario.
        p50_ms: Median latency where the scenario has one, else 0; so p99_ms.
        frames_per_read: MQTT frames a subscriber got per ``recv``; 0 where there is none.
        trouble: Loss, disorder, errors or a failure, in words; empty is good.
    """

    work: int = 0
    wall_s: float = 0.0
    server_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    frames_per_read: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
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
    def p50_ms(self) -> float:
        return self._mean("p50_ms")

    @property
    def p99_ms(self) -> float:
        return self._mean("p99_ms")

    @property
    def trouble(self) -> str:
        return "; ".join(dict.fromkeys(each.trouble for each in self.rounds if each.trouble))

    def _mean(self, name: str) -> float:
        return self._sum(name) / len(self.rounds) if self.rounds else 0.0

    def _sum(self, name: str) -> float:
        return float(sum(getattr(each, name) for each in self.rounds))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A scenario's outcome beside one peer.

    Attributes:
        unit: What ``work`` counts.
        conditions: Burst, window, sizes, durability: what the figure depends on.
        peer: None where LyreDB was measured alone.
        wanted: The ratio that LyreDB wants to reach in this form, or None.
        form: Of LyreDB: plain Python, or compiled.
    """

    name: str
    unit: str
    conditions: str
    subject: Side
    peer: Side | None
    wanted: float | None = None
    form: str = "plain"

    @property
    def is_met(self) -> bool | None:
        """Tell whether what is wanted is reached; None where nothing is, or it has no ratio."""
        ratio = self.ratio
        return None if self.wanted is None or ratio is None else ratio >= self.wanted

    @property
    def ratio(self) -> float | None:
        """LyreDB's work per CPU second in multiples of the peer's."""
        peer = self.peer.per_cpu_s if self.peer else 0.0
        return self.subject.per_cpu_s / peer if peer and self.subject.per_cpu_s else None

    @property
    def sides(self) -> tuple[Side, ...]:
        """Who was measured."""
        return (self.subject,) if self.peer is None else (self.subject, self.peer)

    @property
    def trouble(self) -> str:
        return "; ".join(f"{side.name}: {side.trouble}" for side in self.sides if side.trouble)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is no rate: a latency, a size, a count.

    Attributes:
        subject: LyreDB's, None when it could not be measured.
        peers: The same of others, by name.
        wanted: What LyreDB wants, in words: ``at most 5 kB``.
        is_met: Whether it is; None when nothing is wanted, or nothing was measured.
    """

    name: str
    unit: str
    conditions: str
    subject: float | None
    peers: Mapping[str, float]
    wanted: str = ""
    is_met: bool | None = None
    trouble: str = ""


@dataclass(slots=True)
class Report:
    """Everything of one run of the bench."""

    conditions: str
    comparisons: list[Comparison] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def add(self, found: Sequence[Comparison | Figure]) -> None:
        """Take what a scenario found."""
        self.comparisons += [each for each in found if isinstance(each, Comparison)]
        self.figures += [each for each in found if isinstance(each, Figure)]

    @property
    def outcomes(self) -> list[Comparison | Figure]:
        """All of them."""
        return [*self.comparisons, *self.figures]

    @property
    def has_trouble(self) -> bool:
        return any(each.trouble for each in self.outcomes)
