"""Topic filters (MQTT 5 §4.7): their rules, and finding those that match a topic.

Exact filters stand in a dict, filters with wildcards in a trie of levels. A wildcard in
the first level matches no topic that begins with ``$`` [MQTT-4.7.2-1], nor one that
begins with NUL: those are the internal topics of tables that are not exported.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from lyredb.errors import InvalidTopic

Levels = tuple[bytes, ...]
"""A filter or topic, split at the slashes."""

MAX_FILTER_BYTES: Final = 65_535
"""What the length field of MQTT can say (MQTT 5 §1.5.4)."""
MAX_LEVELS: Final = 128
"""Matching costs a step per level; nobody's topics are deeper than a few dozen."""
INTERNAL: Final = "\0"
"""How internal topics and filters begin."""

_ONE: Final = b"+"
_REST: Final = b"#"

NodeT = TypeVar("NodeT")


def parse_filter(
    text: str, *, max_levels: int = MAX_LEVELS, allow_internal: bool = False
) -> Levels:
    """Split a topic filter into its levels.

    Args:
        text: The filter as the client sent it.
        max_levels: How deep it may be.
        allow_internal: Take filters for internal topics, which begin with NUL; never
            for what a client sent.

    Raises:
        InvalidTopic: Empty, too long or too deep, NUL in it, not Unicode, ``#`` not
            alone in the last level, or ``+`` not alone in its level (MQTT 5 §4.7.1).
    """
    encoded = _encode(text, allow_internal=allow_internal)
    levels = tuple(encoded.split(b"/"))
    if len(levels) > max_levels:
        raise InvalidTopic(f"a topic filter has at most {max_levels} levels, got {len(levels)}")
    if not has_wildcard(text):
        return levels
    for number, level in enumerate(levels, 1):
        if b"#" in level and (level != _REST or number != len(levels)):
            raise InvalidTopic(f"'#' must be the whole last level of a filter, not {_short(text)}")
        if b"+" in level and level != _ONE:
            raise InvalidTopic(f"'+' must be a whole level of a filter, not {_short(text)}")
    return levels


def has_wildcard(text: str) -> bool:
    """Tell whether a filter has a wildcard, or is illegal; else it is a topic, or illegal."""
    return "+" in text or "#" in text


def parse_exact(text: str, *, allow_internal: bool = False) -> bytes:
    """Return the topic that a filter without wildcards is, in a third of `parse_filter`'s time.

    Raises:
        InvalidTopic: As `parse_filter`.
    """
    encoded = _encode(text, allow_internal=allow_internal)
    if encoded.count(b"/") >= MAX_LEVELS:
        count = encoded.count(b"/") + 1
        raise InvalidTopic(f"a topic filter has at most {MAX_LEVELS} levels, got {count}")
    return encoded


def _encode(text: str, *, allow_internal: bool) -> bytes:
    if not text:
        raise InvalidTopic("a topic filter must not be empty")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InvalidTopic("a topic filter must be valid Unicode") from None
    if len(encoded) > MAX_FILTER_BYTES:
        raise InvalidTopic(f"a topic filter has at most {MAX_FILTER_BYTES} bytes")
    if b"\0" in (encoded[1:] if allow_internal else encoded):
        raise InvalidTopic("a topic filter must not contain NUL")
    return encoded


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")


def is_wildcard(levels: Levels) -> bool:
    """Tell whether a parsed filter can match more than one topic."""
    return levels[-1] == _REST or _ONE in levels


def literal_prefix(levels: Levels) -> bytes:
    """Return the levels before the first wildcard as a topic, ``b""`` for none."""
    before = 0
    while before < len(levels) and levels[before] not in (_ONE, _REST):
        before += 1
    return b"/".join(levels[:before])


def matches(levels: Levels, topic: bytes) -> bool:
    """Tell whether a parsed filter matches a topic."""
    if levels[0] in (_ONE, _REST) and topic[:1] in (b"$", b"\0"):
        return False
    parts = topic.split(b"/")
    if levels[-1] == _REST:
        fixed = levels[:-1]
        # `a/#` matches `a` too (MQTT 5 §4.7.1.2).
        return len(parts) >= len(fixed) and all(map(_level_matches, fixed, parts))
    return len(levels) == len(parts) and all(map(_level_matches, levels, parts))


def _level_matches(level: bytes, part: bytes) -> bool:
    return level in (_ONE, part)


class _Branch(Generic[NodeT]):
    """One level of the trie.

    Attributes:
        children: The next levels by their text.
        one: The next level for ``+``.
        here: The filter that ends at this level.
        rest: The filter that ends below this level with ``#``.
    """

    __slots__ = ("children", "here", "one", "rest")

    def __init__(self) -> None:
        self.children: dict[bytes, _Branch[NodeT]] = {}
        self.one: _Branch[NodeT] | None = None
        self.here: NodeT | None = None
        self.rest: NodeT | None = None

    @property
    def is_empty(self) -> bool:
        return not self.children and self.one is None and self.here is None and self.rest is None


class FilterIndex(Generic[NodeT]):
    """Filters with what belongs to each of them; finds those that match a topic."""

    def __init__(self) -> None:
        self._exact: dict[bytes, NodeT] = {}
        self._root: _Branch[NodeT] = _Branch()
        self._wildcards = 0
        self._heads: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._exact) + self._wildcards

    def add(self, levels: Levels, node: NodeT) -> None:
        """Add a filter that is not in the index."""
        if not is_wildcard(levels):
            self.add_exact(b"/".join(levels), node)
            return
        self._count_head(levels[0])
        self._wildcards += 1
        branch = self._root
        for level in levels:
            if level == _REST:
                branch.rest = node
                return
            branch = self._descend(branch, level)
        branch.here = node

    def add_exact(self, topic: bytes, node: NodeT) -> None:
        """As `add`, for a filter without wildcards."""
        self._count_head(topic.partition(b"/")[0])
        self._exact[topic] = node

    def exact(self, topic: bytes) -> NodeT | None:
        """Return what belongs to a filter without wildcards, ``None`` when it is not here."""
        return self._exact.get(topic)

    def _count_head(self, head: bytes) -> None:
        self._heads[head] = self._heads.get(head, 0) + 1

    def _discount_head(self, head: bytes) -> None:
        left = self._heads[head] - 1
        if left:
            self._heads[head] = left
        else:
            del self._heads[head]

    @staticmethod
    def _descend(branch: _Branch[NodeT], level: bytes) -> _Branch[NodeT]:
        if level == _ONE:
            if branch.one is None:
                branch.one = _Branch()
            return branch.one
        child = branch.children.get(level)
        if child is None:
            child = branch.children[level] = _Branch()
        return child

    def remove(self, levels: Levels) -> None:
        """Remove a filter that is in the index, and the branches that only it needed."""
        if not is_wildcard(levels):
            self.remove_exact(b"/".join(levels))
            return
        self._discount_head(levels[0])
        self._wildcards -= 1
        self._prune(self._root, levels, 0)

    def remove_exact(self, topic: bytes) -> None:
        """As `remove`, for a filter without wildcards."""
        del self._exact[topic]
        self._discount_head(topic.partition(b"/")[0])

    def _prune(self, branch: _Branch[NodeT], levels: Levels, at: int) -> None:
        if at == len(levels):
            branch.here = None
            return
        level = levels[at]
        if level == _REST:
            branch.rest = None
            return
        child = branch.one if level == _ONE else branch.children[level]
        assert child is not None, "the filter is in the index"
        self._prune(child, levels, at + 1)
        if not child.is_empty:
            return
        if level == _ONE:
            branch.one = None
        else:
            del branch.children[level]

    def match(self, topic: bytes) -> list[NodeT]:
        """Return what belongs to the filters that match, each once; O(levels x branches)."""
        found: list[NodeT] = []
        exact = self._exact.get(topic)
        if exact is not None:
            found.append(exact)
        if self._wildcards:
            self._match_wildcards(topic, found)
        return found

    def _match_wildcards(self, topic: bytes, found: list[NodeT]) -> None:
        branches = [self._root]
        is_plain = topic[:1] not in (b"$", b"\0")
        for level in topic.split(b"/"):
            reached: list[_Branch[NodeT]] = []
            for branch in branches:
                if is_plain:
                    if branch.rest is not None:
                        found.append(branch.rest)
                    if branch.one is not None:
                        reached.append(branch.one)
                child = branch.children.get(level)
                if child is not None:
                    reached.append(child)
            branches = reached
            # Only the first level of such topics is closed to wildcards.
            is_plain = True
        for branch in branches:
            if branch.here is not None:
                found.append(branch.here)
            if branch.rest is not None:
                found.append(branch.rest)

    def may_match_below(self, head: bytes) -> bool:
        """Tell whether any filter could match a topic with this first level. O(1).

        May say yes too often, never no too often.
        """
        heads = self._heads
        return head in heads or _REST in heads or _ONE in heads
