"""How one subscriber wants to be served by one filter, and what several filters add up to.

A message comes in one of four cases: direct or logged, from another session or from
the subscriber's own. Terms say in which cases they apply (no-local leaves out the own
ones, a subscriber that still scans current state takes the direct ones only). Where
filters of one subscriber overlap, their terms are combined case by case, so that it
gets one copy with the highest QoS and all identifiers of the filters that apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Encoding

DIRECT_OTHER: Final = 1
DIRECT_OWN: Final = 2
LOGGED_OTHER: Final = 4
LOGGED_OWN: Final = 8
DIRECT: Final = DIRECT_OTHER | DIRECT_OWN
OWN: Final = DIRECT_OWN | LOGGED_OWN
OTHER: Final = DIRECT_OTHER | LOGGED_OTHER
EVERY_CASE: Final = OWN | OTHER
_CASES: Final = (DIRECT_OTHER, DIRECT_OWN, LOGGED_OTHER, LOGGED_OWN)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a subscriber is served by one filter.

    Attributes:
        encoding: How messages look on its wire.
        qos: The highest quality of service to send with, 0 to 2.
        principal: Whose rights decide what it sees.
        protocol: As in `lyredb.plugins.context.Context`.
        ids: Subscription identifiers to send with each message.
        retain_as_published: Keep the publisher's RETAIN flag (MQTT 5 §3.8.3.1).
        no_local: The session whose own messages are left out, 0 for none.
        scanning: Current state is still being read: direct messages only, since the
            scan itself tells what the log gets.
    """

    encoding: Encoding
    qos: int
    principal: Principal
    protocol: str
    ids: tuple[int, ...] = ()
    retain_as_published: bool = False
    no_local: int = 0
    scanning: bool = False

    @property
    def cases(self) -> int:
        """The cases in which these terms apply, as bits."""
        cases = DIRECT if self.scanning else EVERY_CASE
        return cases & ~OWN if self.no_local else cases


@dataclass(frozen=True, slots=True)
class Service:
    """What a group of subscribers gets: equal services make equal frames.

    Attributes:
        encoding: As in `Terms`, like the next four.
        principal: See there.
        protocol: See there.
        qos: The highest of the terms that apply.
        ids: Of all of them, ascending.
        retain_as_published: True when any of them says so.
        cases: In which cases, as bits.
        session: Whose messages are the own ones, 0 when that makes no difference.
    """

    encoding: Encoding
    principal: Principal
    protocol: str
    qos: int
    ids: tuple[int, ...]
    retain_as_published: bool
    cases: int = EVERY_CASE
    session: int = 0


def services(terms: Sequence[Terms]) -> list[Service]:
    """Combine the terms that one subscriber has for one topic.

    Args:
        terms: At least one; encoding, principal and protocol are the same in all.

    Returns:
        One service per different outcome; no two have a case in common.
    """
    first = terms[0]
    session = max(one.no_local for one in terms)
    outcomes: dict[tuple[int, tuple[int, ...], bool], int] = {}
    for case in _CASES:
        outcome = _outcome([one for one in terms if one.cases & case])
        if outcome is not None:
            outcomes[outcome] = outcomes.get(outcome, 0) | case
    return [
        Service(
            first.encoding,
            first.principal,
            first.protocol,
            *outcome,
            cases,
            session if _tells_own(cases) else 0,
        )
        for outcome, cases in outcomes.items()
    ]


def service_of(terms: Terms) -> Service:
    """Return what a subscriber gets that is in one filter only.

    As `services` of these terms alone, in an eighth of the time: it is asked for each
    subscription that comes or goes.
    """
    cases = terms.cases
    return Service(
        terms.encoding,
        terms.principal,
        terms.protocol,
        terms.qos,
        tuple(sorted(set(terms.ids))),
        terms.retain_as_published,
        cases,
        terms.no_local if _tells_own(cases) else 0,
    )


def _outcome(terms: Sequence[Terms]) -> tuple[int, tuple[int, ...], bool] | None:
    if not terms:
        return None
    ids: Iterable[int] = (number for one in terms for number in one.ids)
    return (
        max(one.qos for one in terms),
        tuple(sorted(set(ids))),
        any(one.retain_as_published for one in terms),
    )


def _tells_own(cases: int) -> bool:
    """Whether own messages are treated unlike those of others."""
    return (cases & OWN) >> 1 != cases & OTHER
