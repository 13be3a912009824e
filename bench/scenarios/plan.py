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
        round_s: How long a round is measured, on the clock.
        order: "A" measures LyreDB, "B" each peer in turn.
        level: MQTT 4 (3.1.1) or 5.
        payload_bytes: Size of MQTT payloads and HTTP bodies.
        compiled: An interpreter in whose environment LyreDB is compiled; it is measured too.
    """

    folder: Path
    round_s: float
    order: str
    level: int
    payload_bytes: int
    compiled: Path | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A server in a scenario: its name, how to run it, how to measure it once."""

    name: str
    start: Callable[[], AbstractContextManager[Callable[[], Round]]]


def compete(
    plan: Plan, subject: Contender, *peers: Contender, compiled: Contender | None = None
) -> tuple[Side, ...]:
    """Measure all in the plan's order; one that does not start is trouble, not the end.

    All of them run during the whole scenario, idle while another one is measured.

    Returns:
        A side for the subject, for its compiled form where that is one, and for each peer.
    """
    subjects = (subject,) if compiled is None else (subject, compiled)
    contenders = (*subjects, *peers)
    rounds: dict[str, list[Round]] = {each.name: [] for each in contenders}
    with ExitStack() as running:
        measure: dict[str, Callable[[], Round]] = {}
        for each in contenders:
            try:
                measure[each.name] = running.enter_context(each.start())
            except StartFailed as error:
                rounds[each.name].append(Round(trouble=str(error)))
        for letter in plan.order:
            for each in subjects if letter == "A" else peers:
                if each.name in measure:
                    rounds[each.name].append(measure[each.name]())
    return tuple(Side(each.name, rounds[each.name]) for each in contenders)


@contextmanager
def measuring(
    server: AbstractContextManager[Server],
    measure: Callable[[Server], Round],
) -> Iterator[Callable[[], Round]]:
    """Run ``server``; give a function that measures it once."""
    with server as running:
        yield lambda: measure(running)
