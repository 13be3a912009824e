"""What a record must fulfil: one attribute compared with one value, joined by AND."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean

EQUALS: Final = "equals"
COMPARATORS: Final[Mapping[str, str]] = {name: EQUALS for name in (EQUALS, "eq", "=", "==", "===")}
"""Every accepted name of a comparator and what it stands for."""
LATER_COMPARATORS: Final = frozenset(
    (
        "not_equal", "greater_than", "greater_than_equal", "less_than", "less_than_equal",
        "between", "starts_with", "ends_with", "contains", "prefix", "in",
        "ne", "gt", "ge", "lt", "le", "sw", "ew", "ct", "!=", "!==", ">", ">=", "<", "<=",
    )
)  # fmt: skip
"""Those that the conventions have and this version does not."""

_BOOLEAN_HINT: Final = (
    "a condition is no truth value: join conditions with `&` (in parentheses) instead of "
    "`and`, and write a chained comparison as two conditions"
)


class _NoTruth:
    """Raises where Python would ask for the truth of a condition."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(_BOOLEAN_HINT)


@dataclass(frozen=True, slots=True)
class UrlValue:
    """A value as text from a URL, decoded: read by the attribute's declared type.

    Attributes:
        text: Without percent encoding.
        typed: From ``==``: null is recognised, and for undeclared attributes numbers and
            booleans. From ``=``: neither.
        prefix: The type that the value itself names (``number`` in ``number:12``), only
            when typed; ``""`` for none.
    """

    text: str
    typed: bool
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Condition(_NoTruth):
    """One comparison.

    Attributes:
        attribute: Its name.
        comparator: One of `COMPARATORS`.
        value: What it is compared with; text from a URL as `UrlValue`.
        owner: The class whose column it was made of, if it was.
    """

    attribute: str
    comparator: str = EQUALS
    value: object = None
    owner: type[Any] | None = field(default=None, compare=False, repr=False)

    def __and__(self, other: Condition | Conditions) -> Conditions:
        """Both must hold."""
        return Conditions((self, *_conditions_of(other)))


@dataclass(frozen=True, slots=True)
class Conditions(_NoTruth):
    """Conditions that must all hold; made by ``&``."""

    all: tuple[Condition, ...]

    def __and__(self, other: Condition | Conditions) -> Conditions:
        """All of both must hold."""
        return Conditions((*self.all, *_conditions_of(other)))


ConditionLike: TypeAlias = Condition | Conditions | Mapping[str, object] | Sequence[object]
"""``Sensor.value == 3``, ``{"attribute": "value", "value": 3}``, ``("value", 3)``,
``("value", "equals", 3)``, or a sequence of these."""


def read_conditions(given: object) -> tuple[Condition, ...]:
    """Return the conditions that a `ConditionLike`, several of them or ``None`` means.

    Raises:
        InvalidQuery: It is none of them, or asks for what is not supported yet.
    """
    if given is None:
        return ()
    if isinstance(given, (Condition, Conditions)):
        return tuple(_checked(one) for one in _conditions_of(given))
    if isinstance(given, Mapping):
        return (_from_mapping(given),)
    if isinstance(given, tuple) and given and isinstance(given[0], str):
        return (_from_tuple(given),)
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InvalidQuery(
            "a condition is `Table.attribute == value`, a tuple (attribute, value) or an "
            f"object with attribute and value, not {type(given).__name__}"
        )
    return tuple(one for element in given for one in read_conditions(element))


def comparator_named(name: object) -> str:
    """Return what a comparator's name stands for.

    Raises:
        InvalidQuery: It is unknown, or not supported yet.
    """
    if isinstance(name, str):
        if name in COMPARATORS:
            return COMPARATORS[name]
        if name in LATER_COMPARATORS:
            raise InvalidQuery(f"the comparator {name} is not supported yet; use equals")
        hint = did_you_mean(name, (*COMPARATORS, *LATER_COMPARATORS))
        raise InvalidQuery(f"unknown comparator {name[:40]!r}{hint}")
    raise InvalidQuery("a comparator is a name")


def _conditions_of(one: Condition | Conditions) -> tuple[Condition, ...]:
    if isinstance(one, Condition):
        return (one,)
    if isinstance(one, Conditions):
        return one.all
    raise TypeError(f"a condition is joined with another condition, not {type(one).__name__}")


def _checked(condition: Condition) -> Condition:
    return Condition(
        _attribute_named(condition.attribute),
        comparator_named(condition.comparator),
        condition.value,
        condition.owner,
    )


def _attribute_named(name: object) -> str:
    if isinstance(name, str) and name:
        return name
    if isinstance(name, (list, tuple)):
        raise InvalidQuery("conditions on related or nested attributes are not supported yet")
    raise InvalidQuery("a condition needs the name of an attribute")


def _from_mapping(given: Mapping[str, object]) -> Condition:
    if "conditions" in given:
        raise InvalidQuery("groups of conditions are not supported yet")
    unknown = set(given) - {"attribute", "comparator", "value"}
    if unknown:
        name = str(sorted(map(str, unknown))[0])
        hint = did_you_mean(name, ("attribute", "comparator", "value"))
        raise InvalidQuery(f"unknown key {name[:40]!r} in a condition{hint}")
    if "value" not in given:
        raise InvalidQuery("a condition needs a value")
    return Condition(
        _attribute_named(given.get("attribute")),
        comparator_named(given.get("comparator", EQUALS)),
        given["value"],
    )


def _from_tuple(given: tuple[object, ...]) -> Condition:
    match given:
        case (name, value):
            return Condition(_attribute_named(name), EQUALS, value)
        case (name, comparator, value):
            return Condition(_attribute_named(name), comparator_named(comparator), value)
    raise InvalidQuery("a condition is (attribute, value) or (attribute, comparator, value)")
