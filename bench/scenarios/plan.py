"""How a scenario is measured: two servers in turns, so that both share the machine's moods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.peers.process import StartFailed
from bench.result import Round, Side

Server = TypeVar("Server")


@dataclass(frozen=True, slots=True)
class Plan:
    """What all scenarios have in common.

    Attributes:
        folder: Holds the data directories; a real disk, or durability costs nothing.
        cpu_s: CPU seconds of the server in each round.
        wall_s: A round's limit on the clock.
        order: "A" measures LyreDB, "B" the peer.
        level: MQTT 4 (3.1.1) or 5.
        payload_bytes: Size of MQTT payloads and HTTP bodies.
    """

    folder: Path
    cpu_s: float
    wall_s: float
    order: str
    level: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Contender:
    """A server in a scenario: its name, how to run it, how to measure it once."""

    name: str
    start: Callable[[], AbstractContextManager[Callable[[], Round]]]


def compete(plan: Plan, subject: Contender, peer: Contender) -> tuple[Side, Side]:
    """Measure both in the plan's order; one that does not start is trouble, not the end."""
    rounds: dict[str, list[Round]] = {"A": [], "B": []}
    with ExitStack() as running:
        measure: dict[str, Callable[[], Round]] = {}
        for letter, contender in (("A", subject), ("B", peer)):
            try:
                measure[letter] = running.enter_context(contender.start())
            except StartFailed as error:
                rounds[letter].append(Round(trouble=str(error)))
        for letter in plan.order:
            if letter in measure:
                rounds[letter].append(measure[letter]())
    return Side(subject.name, rounds["A"]), Side(peer.name, rounds["B"])


@contextmanager
def measuring(
    server: AbstractContextManager[Server], measure: Callable[[Server], Round]
) -> Iterator[Callable[[], Round]]:
    """Run ``server``; give a function that measures it once."""
    with server as running:
        yield lambda: measure(running)
