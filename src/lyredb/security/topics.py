"""Topic patterns of a role: what may be published and read on open topics.

A pattern is a topic filter in which ``%u`` stands for the user's name and ``%c`` for the
client identifier; ``%%`` is a percent sign. Patterns add up, and ``none`` wins.

The one invariant: a name never widens a pattern. Patterns are split at their slashes first,
and a name is put into one level of one as text that is compared and never read. So the name
``+`` reaches nothing of others. A name with ``+``, ``#`` or ``/`` in it, an empty one, and
one that would begin a topic with ``$``, reaches nothing at all, and a pattern that takes
something away takes it away from such a name at every text of that level.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

TopicRight = Literal["read", "write"]
Word = Literal["read", "write", "both", "none"]
WORDS: Final[tuple[Word, ...]] = ("read", "write", "both", "none")
"""What a pattern gives: ``none`` takes away what others give."""
MAX_PATTERNS: Final = 1_000
"""Of one role. Each topic is compared with all of them once, when it is first used."""
MAX_PATTERN_BYTES: Final = 4_096

_ONE: Final = "+"
_REST: Final = "#"
_PLACEHOLDER: Final = re.compile(r"%[uc%]")
_UNUSABLE: Final = re.compile(r"[+#/\0]")

Levels = tuple[str, ...]


def pattern_problem(text: str) -> str:
    """Return why a text cannot be a pattern, ``""`` when it can."""
    if not text or "\0" in text:
        return "a pattern must have a letter, and no NUL"
    try:
        if len(text.encode()) > MAX_PATTERN_BYTES:
            return f"a pattern has at most {MAX_PATTERN_BYTES} bytes"
    except UnicodeEncodeError:
        return "a pattern must be valid Unicode"
    levels = text.split("/")
    for number, level in enumerate(levels, 1):
        if _REST in level and (level != _REST or number != len(levels)):
            return "'#' must be the whole last level of a pattern"
        if _ONE in level and level != _ONE:
            return "'+' must be a whole level of a pattern"
    return ""


def literal(text: str) -> str:
    """Return a topic filter as a pattern in which nothing stands for a name."""
    return text.replace("%", "%%")


@dataclass(frozen=True)
class TopicRules:
    """The patterns of a role.

    Attributes:
        words: What each pattern gives, by pattern.
    """

    words: Mapping[str, Word]

    def __hash__(self) -> int:
        return hash(frozenset(self.words.items()))

    @cached_property
    def by_user(self) -> bool:
        """Whether decisions differ between users of the role."""
        return "%u" in self._placeholders

    @cached_property
    def by_client(self) -> bool:
        """Whether decisions differ between connections of one user."""
        return "%c" in self._placeholders

    @cached_property
    def _placeholders(self) -> frozenset[str]:
        return frozenset(
            placeholder for text in self.words for placeholder in _PLACEHOLDER.findall(text)
        )

    def gives(self, right: TopicRight) -> bool:
        """Tell whether any pattern gives a right on anything."""
        return any(word in (right, "both") for word in self.words.values())

    def bound(self, user: str, client: str) -> TopicRights:
        """Return what one user may do, with one client identifier.

        Args:
            user: ``""`` for nobody.
            client: ``""`` where there is none, as over HTTP.
        """
        names = {"%u": user, "%c": client}
        given: dict[TopicRight, list[Levels]] = {"read": [], "write": []}
        denied: list[Levels] = []
        for text, word in self.words.items():
            levels = [_filled(level, names) for level in text.split("/")]
            if word == "none":
                denied.append(tuple(_ONE if level is None else level for level in levels))
                continue
            whole = tuple(level for level in levels if level is not None)
            if len(whole) < len(levels) or (whole[0][:1] == "$" and text[0] != "$"):
                continue  # a name that reaches nothing
            if word != "write":
                given["read"].append(whole)
            if word != "read":
                given["write"].append(whole)
        return TopicRights(given["read"], given["write"], denied)


class TopicRights:
    """What somebody may do with topics; patterns without placeholders.

    Args:
        read: Filters of what may be read.
        write: Of what may be published, retained and cleared.
        denied: Of what may not be used at all, whatever the others say.
    """

    __slots__ = ("_denied", "_given")

    def __init__(
        self, read: Sequence[Levels], write: Sequence[Levels], denied: Sequence[Levels]
    ) -> None:
        self._given: dict[TopicRight, Sequence[Levels]] = {"read": read, "write": write}
        self._denied = denied

    def may_all(self, right: TopicRight, topic_filter: str) -> bool:
        """Tell whether all that a topic filter matches may be used; a topic is one, too.

        Says no where only several patterns together cover the filter. O(patterns).
        """
        wanted = tuple(topic_filter.split("/"))
        return any(_covers(levels, wanted) for levels in self._given[right]) and not any(
            _meet(levels, wanted) for levels in self._denied
        )

    def may_some(self, right: TopicRight, topic_filter: str) -> bool:
        """Tell whether something that a topic filter matches may be used. O(patterns).

        May say yes where several patterns together take away all of it.
        """
        wanted = tuple(topic_filter.split("/"))
        return any(_meet(levels, wanted) for levels in self._given[right]) and not any(
            _covers(levels, wanted) for levels in self._denied
        )


def _filled(level: str, names: Mapping[str, str]) -> str | None:
    """Return a level of a pattern with names put in, ``None`` when one of them is unusable."""
    for found in _PLACEHOLDER.findall(level):
        name = names.get(found, "%")
        if not name or _UNUSABLE.search(name):
            return None
    return _PLACEHOLDER.sub(lambda found: names.get(found[0], "%"), level)


def _is_hidden(levels: Levels, wanted: Levels) -> bool:
    """A wildcard in the first level matches no topic that begins with $ [MQTT-4.7.2-1]."""
    return levels[0] in (_ONE, _REST) and wanted[0][:1] == "$"


def _covers(levels: Levels, wanted: Levels) -> bool:
    """Tell whether a filter matches each topic that another one matches."""
    if _is_hidden(levels, wanted):
        return False
    for number, level in enumerate(levels):
        if level == _REST:
            return number <= len(wanted)
        if number >= len(wanted) or wanted[number] == _REST:
            return False
        if level not in (_ONE, wanted[number]):
            return False
    return len(levels) == len(wanted)


def _meet(one: Levels, other: Levels) -> bool:
    """Tell whether there is a topic that both filters match."""
    if _is_hidden(one, other) or _is_hidden(other, one):
        return False
    for mine, its in zip(one, other, strict=False):
        if _REST in (mine, its):
            return True
        if mine != its and _ONE not in (mine, its):
            return False
    # `a/#` matches `a` too (MQTT 5 §4.7.1.2).
    longer = one if len(one) > len(other) else other
    shorter = min(len(one), len(other))
    return len(one) == len(other) or longer[shorter:] == (_REST,)
