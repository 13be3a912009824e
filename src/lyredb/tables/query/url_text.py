"""The pieces of a query in a URL: percent encoding, names, paths and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from lyredb.errors import InvalidQuery
from lyredb.tables.query.terms import UrlValue

_OPEN: Final = {"(": ")", "[": "]", "{": "}"}
_CLOSE: Final = frozenset(_OPEN.values())


def decoded(text: str, *, plus_is_space: bool = False) -> str:
    """Undo the percent encoding.

    Raises:
        InvalidQuery: What it stands for is not UTF-8.
    """
    if plus_is_space:
        text = text.replace("+", " ")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise InvalidQuery("the query is not UTF-8") from None


def path_in(text: str, *, plus_is_space: bool = False) -> tuple[str, ...]:
    """Return the names of ``brand.name``. A dot in a name itself is written ``%2E``.

    Raises:
        InvalidQuery: A name is empty.
    """
    names = tuple(decoded(one, plus_is_space=plus_is_space) for one in text.split("."))
    if not all(names):
        raise InvalidQuery(f"{shown(text)} has an empty name; a path is relation.attribute")
    return names


def value_in(text: str, *, typed: bool, plus_is_space: bool = False) -> UrlValue:
    """Return a value, with the type that it names itself when it is typed.

    A colon marks a type only where it is not percent-encoded, so it is told apart before
    decoding.
    """
    prefix, colon, rest = text.partition(":") if typed else ("", "", text)
    if not prefix or not colon:
        prefix, rest = "", text
    return UrlValue(
        decoded(rest, plus_is_space=plus_is_space),
        typed,
        decoded(prefix, plus_is_space=plus_is_space),
    )


def pieces(text: str, separator: str = ",") -> Iterator[str]:
    """Split at a character that stands outside of brackets.

    Raises:
        InvalidQuery: Brackets are not balanced.
    """
    start = at = 0
    while at < len(text):
        character = text[at]
        if character in _OPEN:
            at = end_of_bracket(text, at)
        elif character in _CLOSE:
            raise unbalanced(character)
        elif character == separator:
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def end_of_bracket(text: str, start: int) -> int:
    """Return where the bracket that opens at ``start`` is closed.

    Raises:
        InvalidQuery: It is not, or by one of another kind.
    """
    waiting: list[str] = []
    for at in range(start, len(text)):
        character = text[at]
        if character in _OPEN:
            waiting.append(_OPEN[character])
        elif character in _CLOSE:
            if waiting.pop() != character:
                raise unbalanced(character)
            if not waiting:
                return at
    raise InvalidQuery(
        f"the bracket {text[start]!r} is not closed; in a name or value it is written "
        f"%{ord(text[start]):X}"
    )


def unbalanced(character: str) -> InvalidQuery:
    """Return the error for a bracket that closes nothing."""
    return InvalidQuery(
        f"unbalanced {character!r} in the query; in a name or value it is written "
        f"%{ord(character):X}"
    )


def shown(text: str) -> str:
    """Return a piece of a query as an error shows it."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
