"""A query as a value: conditions, how many records, and what is returned of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lyredb.errors import InvalidQuery
from lyredb.tables.query.conditions import Condition, ConditionLike, read_conditions

Form = Literal["objects", "values", "arrays"]

ID_NAME: Final = "$id"
"""The key, whatever its attribute is called."""
UPDATED_NAME: Final = "$updatedtime"
"""The time of the last write in epoch milliseconds."""


@dataclass(frozen=True, slots=True)
class Select:
    """What is returned of each record.

    Attributes:
        names: Attributes, and the special names ``$id`` and ``$updatedtime``.
        form: ``objects`` (absent attributes left out), bare ``values`` (one name), or
            ``arrays`` (absent attributes are null, so that places stay).
    """

    names: tuple[str, ...]
    form: Form = "objects"


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        conditions: All must hold; none finds everything.
        limit: How many records at most, ``None`` for all.
        offset: How many matching records are skipped before.
        select: ``None``: whole records.
    """

    conditions: tuple[Condition, ...] = ()
    limit: int | None = None
    offset: int = 0
    select: Select | None = None

    @classmethod
    def of(
        cls,
        conditions: ConditionLike | Iterable[ConditionLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: str | Sequence[str] | Select | None = None,
    ) -> Query:
        """Return a query from what code passes.

        Args:
            conditions: Any of the forms of `ConditionLike`, or several.
            limit: 0 or more.
            offset: 0 or more.
            select: Names make objects, one name as a string bare values.

        Raises:
            InvalidQuery: Something of it makes no sense.
        """
        return cls(
            conditions=read_conditions(conditions),
            limit=None if limit is None else check_count("limit", limit),
            offset=check_count("offset", offset),
            select=_select(select),
        )


def check_count(name: str, value: object) -> int:
    """Return a number of records.

    Raises:
        InvalidQuery: It is no integer from 0 up.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidQuery(f"{name} must be an integer from 0 up, got {str(value)[:40]}")
    return value


def _select(given: object) -> Select | None:
    match given:
        case None | Select():
            return given
        case str():
            return Select((given,), "values")
        case list() | tuple() if given and all(isinstance(name, str) for name in given):
            return Select(tuple(dict.fromkeys(given)))
    raise InvalidQuery("select is the name of an attribute, or a list of names")
