"""The query of a subscription: where it begins, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qsl

from lyredb.errors import InvalidQuery
from lyredb.resources.replay import NAMES, parse_beginning
from lyredb.tables.gateway import Beginning


def beginning_in(query: bytes, position: str) -> Beginning:
    """Return what the query says.

    Args:
        query: What stands after ``?``.
        position: The name of the parameter with the position.

    Raises:
        InvalidQuery: There is more in it, something twice, or a value makes no sense. Who
            asks for some records must not get all.
    """
    after: str | None = None
    said: list[tuple[str, str]] = []
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if key == position and after is not None:
            raise InvalidQuery(f"{position} is given twice")
        if key == position:
            after = value.strip()
        elif key in NAMES:
            said.append((key, value.strip()))
        else:
            known = ", ".join((position, *sorted(NAMES)))
            raise InvalidQuery(
                f"conditions on subscriptions are not supported yet; a query may have {known}"
            )
    return parse_beginning(said, after or "")
