"""Queries in a URL, as ``docs/queries.md`` has them: ``value=gt=30&sort(-value)&limit(10)``.

Conditions are joined by ``&`` or ``|``, one of the two at one level; brackets make levels.
Functions stand at the outermost level, between ``&``. What cannot be understood is refused,
never taken for something different.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lyredb.errors import InvalidQuery
from lyredb.tables.query.bounds import BOUNDS, QueryBounds, Tally
from lyredb.tables.query.comparators import LOWER, UPPER, URL_SYMBOLS, comparator_of_word
from lyredb.tables.query.terms import Comparator, Condition, Group, Query, UrlValue, Where
from lyredb.tables.query.url_functions import check_function, read_function
from lyredb.tables.query.url_text import (
    decoded,
    end_of_bracket,
    path_in,
    pieces,
    shown,
    unbalanced,
    value_in,
)

_CALL: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\((.*)\)", re.DOTALL)
_NOT: Final = re.compile(r"not(?=[(\[])")
_NAME: Final = r"([^=!<>]+?)(\[\]|%5[Bb]%5[Dd])?"
_WORD: Final = re.compile(_NAME + r"=([A-Za-z_]+)=(?!=)(.*)", re.DOTALL)
_SYMBOL: Final = re.compile(rf"{_NAME}({'|'.join(map(re.escape, URL_SYMBOLS))})(.*)", re.DOTALL)
_CHAINED: Final = re.compile(r"=?(lt|le|gt|ge)=([^=<>]*)|=?(<=|>=|<|>)([^=<>]*)", re.DOTALL)
_UNTYPED: Final = frozenset(("=", "===", "!=="))
_LISTS: Final = frozenset(("in", "between", "prefix"))
_FORM_BREAKERS: Final = frozenset("()|<>![]")
_BRACKETS: Final = {"(": ")", "[": "]"}


def parse_query(text: str, bounds: QueryBounds = BOUNDS) -> Query:
    """Return the query that the part of a URL behind ``?`` means.

    Args:
        text: Not decoded; percent encoding is undone per name and value here.
        bounds: How large it may be.

    Raises:
        InvalidQuery: It cannot be understood, or is larger.
    """
    if len(text) > bounds.characters:
        raise InvalidQuery(f"a query has at most {bounds.characters} characters")
    parser = _Parser(text, Tally(bounds), plus_is_space=_is_plain_form(text))
    where = parser.level("", 0)
    return Query(where, **parser.options)


def _is_plain_form(text: str) -> bool:
    """Without operators it is what an HTML form sends, where ``+`` is a space."""
    plain = text.replace("[]=", "=")
    return not _FORM_BREAKERS.intersection(plain) and not re.search(r"=[a-z]*=", plain)


@dataclass(slots=True)
class _Level:
    """What stands between two brackets, as far as it is read.

    Attributes:
        members: Conditions and groups.
        operator: What joins them, ``""`` as long as there is one.
        separator: What stands before the next one, ``""`` at the beginning.
        chain: The conditions that a bound without an attribute would belong to.
        after_function: A function was read last.
    """

    members: list[Where] = field(default_factory=list)
    operator: Literal["", "and", "or"] = ""
    separator: str = ""
    chain: list[Condition] = field(default_factory=list)
    after_function: bool = False

    def add(self, member: Where) -> None:
        """Take the next member.

        Raises:
            InvalidQuery: It is joined by another operator than the ones before.
        """
        if self.members:
            operator: Literal["and", "or"] = "or" if self.separator == "|" else "and"
            if self.operator not in ("", operator):
                raise InvalidQuery(
                    "& and | are mixed without a group; write which belong together: a=1&[b=2|b=3]"
                )
            self.operator = operator
        self.members.append(member)
        self.after_function = False

    def joined(self) -> Where | None:
        """Return all members as one, ``None`` when there are none."""
        if len(self.members) > 1:
            return Group(self.operator or "and", tuple(self.members))
        return self.members[0] if self.members else None


class _Parser:
    """Reads a text from left to right.

    Attributes:
        options: The attributes of the `Query` that functions set.
    """

    def __init__(self, text: str, tally: Tally, *, plus_is_space: bool) -> None:
        self._text = text
        self._tally = tally
        self._plus_is_space = plus_is_space
        self._at = 0
        self._called: set[str] = set()
        self.options: dict[str, Any] = {}

    def level(self, closing: str, depth: int) -> Where | None:
        """Read up to a closing bracket, or to the end of the text for ``""``."""
        self._tally.nesting(depth)
        level = _Level()
        while True:
            is_empty = not self._term(level, depth)
            found = self._text[self._at : self._at + 1]
            # An empty term beside & does no harm: forms and templates leave them.
            if is_empty and "|" in (level.separator, found):
                raise InvalidQuery("a condition is missing beside |")
            if found == closing:
                return level.joined()
            if found not in ("&", "|"):
                raise self._unexpected(found)
            if found == "|" and level.after_function:
                raise InvalidQuery("a function is joined by &, not by |")
            level.separator = found
            self._at += 1

    def _term(self, level: _Level, depth: int) -> bool:
        """Read a condition, group or function; tell whether there was one."""
        start = self._at
        negated = _NOT.match(self._text, start)
        opening = negated.end() if negated else start
        bracket = self._text[opening : opening + 1]
        if bracket in _BRACKETS:
            self._at = opening + 1
            group = self._group(_BRACKETS[bracket], depth + 1)
            level.add(Group("not", (group,)) if negated else group)
            level.chain = []
            return True
        self._at = self._end_of_term(start)
        part = self._text[start : self._at]
        call = _CALL.fullmatch(part)
        if call:
            self._function(level, call[1], call[2], depth)
        elif part:
            self._condition(level, part)
        return bool(part)

    def _group(self, closing: str, depth: int) -> Where:
        group = self.level(closing, depth)
        if group is None:
            raise InvalidQuery("a group needs a condition between its brackets")
        self._at += 1
        return group

    def _end_of_term(self, at: int) -> int:
        """Return where a condition or function ends: before ``&``, ``|`` or a bracket."""
        text = self._text
        while at < len(text):
            character = text[at]
            if character in "&|)]}":
                return at
            if character in "([{":
                at = end_of_bracket(text, at)
            at += 1
        return at

    def _function(self, level: _Level, name: str, arguments: str, depth: int) -> None:
        check_function(name)
        if depth:
            raise InvalidQuery(f"{name}() must stand outside of groups")
        if level.separator == "|":
            raise InvalidQuery(f"{name}() is joined by &, not by |")
        if name in self._called:
            raise InvalidQuery(f"{name}() stands in the query twice")
        self._called.add(name)
        self.options |= read_function(name, arguments, self._tally)
        level.after_function = True
        level.chain = []

    def _condition(self, level: _Level, part: str) -> None:
        self._tally.condition()
        chained = _CHAINED.fullmatch(part)
        if chained and (level.chain or not part[0].isalpha()):
            condition = self._chained(level, part, chained)
        else:
            condition = self._full_condition(part)
            level.chain = [condition] if condition.comparator in LOWER | UPPER else []
        level.add(condition)

    def _chained(self, level: _Level, part: str, chained: re.Match[str]) -> Condition:
        """Read ``lt=50`` or ``=lt=50`` behind ``price=gt=10``."""
        comparator = comparator_of_word(chained[1]) if chained[1] else URL_SYMBOLS[chained[3]]
        ends = {comparator, *(one.comparator for one in level.chain)}
        is_range = len(level.chain) == 1 and ends & LOWER and ends & UPPER
        if not is_range or level.separator != "&":
            raise InvalidQuery(
                f"{shown(part)} is no condition: a chained range is one lower and one upper "
                "bound, attribute=gt=10&lt=50; for an attribute of that name write =="
            )
        value = self._value(chained[2] if chained[1] else chained[4], comparator, typed=True)
        first = level.chain[0]
        condition = Condition(first.path, comparator, value)
        level.chain.append(condition)
        return condition

    def _full_condition(self, part: str) -> Condition:
        word = _WORD.fullmatch(part)
        if word:
            comparator = comparator_of_word(word[3])
            return self._compared(word[1], comparator, word[4], typed=True)
        match = _SYMBOL.fullmatch(part)
        if not match:
            raise InvalidQuery(f"{self._shown(part)} is no condition; write attribute=value")
        name, symbol, value = match[1], match[3], match[4]
        comparator = URL_SYMBOLS[symbol]
        if symbol == "==" and "*" in value:
            if value.index("*") != len(value) - 1:
                raise InvalidQuery(
                    f"* in {shown(value)} can stand at the end only (starts with); use =ew= or "
                    "=ct= for ends with and contains, and write the character as %2A"
                )
            comparator, value = "starts_with", value[:-1]
        return self._compared(name, comparator, value, typed=symbol not in _UNTYPED)

    def _compared(self, name: str, comparator: Comparator, value: str, *, typed: bool) -> Condition:
        path = path_in(name, plus_is_space=self._plus_is_space)
        return Condition(path, comparator, self._value(value, comparator, typed=typed))

    def _value(
        self, text: str, comparator: Comparator, *, typed: bool
    ) -> UrlValue | tuple[UrlValue, ...]:
        loose = re.search(r"[=<>]", text)
        if loose:
            raise InvalidQuery(
                f"{loose[0]} in the value {shown(text)} must be written %{ord(loose[0]):X}"
            )
        if comparator in _LISTS:
            return self._values(text, comparator)
        return value_in(text, typed=typed, plus_is_space=self._plus_is_space)

    def _values(self, text: str, comparator: Comparator) -> tuple[UrlValue, ...]:
        """Read ``1,2,3``, which may stand in brackets; ``()`` is the empty list."""
        is_bracketed = text[:1] in _BRACKETS and end_of_bracket(text, 0) == len(text) - 1
        inner = text[1:-1] if is_bracketed else text
        texts = [] if is_bracketed and not inner else list(pieces(inner))
        self._tally.values(len(texts))
        if comparator == "between" and len(texts) != 2:
            raise InvalidQuery("bt takes two values, the lower and the upper end: value=bt=1,5")
        return tuple(value_in(one, typed=True) for one in texts)

    def _unexpected(self, found: str) -> InvalidQuery:
        if not found:
            return InvalidQuery("a group in the query is not closed")
        if found in ")]}":
            return unbalanced(found)
        rest = self._text[self._at :]
        return InvalidQuery(f"{shown(rest)} must be joined with what stands before it by & or |")

    def _shown(self, part: str) -> str:
        try:
            return shown(decoded(part))
        except InvalidQuery:
            return shown(part)
