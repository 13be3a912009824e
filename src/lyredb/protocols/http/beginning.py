"""The query of a subscription: the position to resume after, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qsl

from lyredb.errors import InvalidQuery


def position_in(query: bytes, name: str) -> str:
    """Return the position that the query gives, ``""`` for none.

    Args:
        query: What stands after ``?``.
        name: Of the only parameter that there is.

    Raises:
        InvalidQuery: There is more in it. Who asks for some records must not get all.
    """
    if not query:
        return ""
    found = ""
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if key != name:
            raise InvalidQuery(
                f"conditions on subscriptions are not supported yet; the query may be {name}=… only"
            )
        found = value.strip()
    return found
