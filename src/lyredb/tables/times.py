"""Dates: read from what clients send, and made from the milliseconds of a version."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

ServerTime = Callable[[int], object]
"""Turns epoch milliseconds into the declared form of a server-set time."""


def date_of_ms(ms: float) -> datetime:
    """Return the date of epoch milliseconds, in UTC.

    Raises:
        OverflowError: Before the year 1 or after 9999.
    """
    return _EPOCH + timedelta(milliseconds=ms)


def ms_of_date(date: datetime) -> float:
    """Return a date with time zone as epoch milliseconds; whole ones as an integer."""
    ms = (date - _EPOCH) / _MILLISECOND
    return int(ms) if ms.is_integer() else ms


def parse_date(value: object) -> datetime | None:
    """Return the date that a value stands for, ``None`` when it stands for none.

    Args:
        value: A date, an ISO 8601 string, or epoch milliseconds. Without a time zone
            it is UTC.
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            return date_of_ms(value) if math.isfinite(value) else None
        if not isinstance(value, datetime):
            return None
        # In UTC, so that what is stored reads the same whoever wrote it. Fails at the
        # very ends of the calendar.
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


SERVER_TIMES: Final[dict[str, ServerTime]] = {"Date": date_of_ms, "Float": float, "Long": int}
"""By the declared type of a created or updated time."""
