"""How a subscriber is served by one filter: the quick way says what the general one does."""

from __future__ import annotations

from itertools import product

from lyredb.delivery.terms import service_of, services
from tests.delivery.world import terms


def test_terms_alone_are_served_as_terms_among_others() -> None:
    """Else who joins a second filter would get other things by the first."""
    options = product((0, 2), ((), (7,), (9, 7, 9)), (False, True), (0, 5), (False, True))
    for qos, ids, keeps, session, scanning in options:
        one = terms(
            qos=qos, ids=ids, retain_as_published=keeps, no_local=session, scanning=scanning
        )
        assert [service_of(one)] == services((one,))
