"""The query of a subscription: where it begins, and nothing else."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from lyredb.errors import InvalidQuery
from lyredb.resources.replay import NAMES, Replay, parse_replay


class Beginning(NamedTuple):
    """Where a subscription begins.

    Attributes:
        after: The position to resume after, as it came; ``""`` for none. It wins.
        replay: What is told first otherwise.
    """

    after: str
    replay: Replay


def beginning_in(query: bytes, position: str) -> Beginning:
    """Return what the query says.

    Args:
        query: What stands after ``?``.
        position: The name of the parameter with the position.

    Raises:
        InvalidQuery: There is more in it, or a value makes no sense. Who asks for some
            records must not get all.
    """
    after = ""
    said: list[tuple[str, str]] = []
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if key == position:
            after = value.strip()
        elif key in NAMES:
            said.append((key, value.strip()))
        else:
            known = ", ".join((position, *sorted(NAMES)))
            raise InvalidQuery(
                f"conditions on subscriptions are not supported yet; a query may have {known}"
            )
    return Beginning(after, parse_replay(said))
