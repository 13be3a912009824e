"""What this worker wants of the others: the filters of its subscribers, made coarser.

Ten thousand clients with a topic each below ``devices`` would cost every other worker
ten thousand filters. Beyond `COARSE_ABOVE` filters below one parent the parent with
``#`` is announced in their place, and some messages come that nobody here wants. With
less than `FINE_BELOW` the filters are announced one by one again; between the two
nothing changes, so that a client which comes and goes does not move ten thousand.

Filters count where they are announced: below a coarse parent they are one filter for
the parent above it. The first level is different: filters of one level are covered by
``+``, and more than that is never taken together, as it would be everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

COARSE_ABOVE: Final = 10_000
"""About 10 MB of filters at each peer, and as many routes dropped one by one."""
FINE_BELOW: Final = 5_000

_NOT_COVERED_BY_ONE: Final = ("#", "$", "\0")
"""``+`` covers neither everything below nor topics of the server (MQTT 5 §4.7.2)."""


class _Parent:
    """Some levels with the filters below them.

    Attributes:
        text: The levels as a filter, ``""`` for the root.
        above: The parent of this parent.
        below: The parents below by their text.
        filters: The filters with one level more.
        count: How many filters are announced below, if this is not coarse.
        is_coarse: Whether the filters below are announced as one.
    """

    __slots__ = ("above", "below", "count", "filters", "is_coarse", "text")

    def __init__(self, text: str, above: _Parent | None) -> None:
        self.text = text
        self.above = above
        self.below: dict[str, _Parent] = {}
        self.filters: dict[str, None] = {}
        self.count = 0
        self.is_coarse = False

    @property
    def cover(self) -> str:
        """The filter that stands for all below."""
        return f"{self.text}/#" if self.above is not None else "+"


class Interest:
    """Counts who wants which filter, and says what is to be announced.

    Attributes:
        announced: What the others should know, in order of coming.
        coarse: How many parents stand for their filters.
    """

    def __init__(
        self,
        on_change: Callable[[], None],
        *,
        coarse_above: int = COARSE_ABOVE,
        fine_below: int = FINE_BELOW,
    ) -> None:
        """Want nothing.

        Args:
            on_change: Called when `changes` may have something to say.
            coarse_above: More filters below one parent are announced as one.
            fine_below: Less are announced one by one again.
        """
        self._on_change = on_change
        self._coarse_above = coarse_above
        self._fine_below = fine_below
        self._counts: dict[str, int] = {}
        self._is_announcing = False
        self._root = _Parent("", None)
        self._parents: dict[str, _Parent] = {}
        self._touched: dict[str, bool] = {}
        self.announced: dict[str, None] = {}
        self.coarse = 0

    def add(self, filter: str) -> None:
        """Want a filter once more."""
        count = self._counts.get(filter, 0)
        self._counts[filter] = count + 1
        if not count and self._is_announcing:
            self._appear(filter)
            self._on_change()

    def remove(self, filter: str) -> None:
        """Want a filter once less. It has to be wanted."""
        count = self._counts[filter] - 1
        if count:
            self._counts[filter] = count
        else:
            del self._counts[filter]
            if self._is_announcing:
                self._vanish(filter)
                self._on_change()

    def begin(self) -> None:
        """Begin to work out what to announce: there is somebody to tell.

        Until then a filter costs a place in a dict, as a server in one process never
        tells anybody.
        """
        if not self._is_announcing:
            self._is_announcing = True
            for filter in self._counts:
                self._appear(filter)

    @property
    def has_changes(self) -> bool:
        """Whether anything was touched since `changes`."""
        return bool(self._touched)

    def changes(self) -> tuple[list[str], list[str]]:
        """Return what is announced since the last call, and what is no more."""
        touched, self._touched = self._touched, {}
        wanted: list[str] = []
        unwanted: list[str] = []
        for filter, was in touched.items():
            now = filter in self.announced
            if now != was:
                (wanted if now else unwanted).append(filter)
        return wanted, unwanted

    def _announce(self, filter: str) -> None:
        if filter not in self.announced:
            self._touched.setdefault(filter, False)
            self.announced[filter] = None

    def _withdraw(self, filter: str) -> None:
        if filter in self.announced:
            self._touched.setdefault(filter, True)
            del self.announced[filter]

    def _appear(self, filter: str) -> None:
        parent = self._parent_of(filter)
        if parent is None:
            self._announce(filter)
            return
        parent.filters[filter] = None
        if not self._is_covered(parent):
            self._announce(filter)
        self._count(parent, 1)

    def _vanish(self, filter: str) -> None:
        parent = self._parent_of(filter)
        if parent is None:
            self._withdraw(filter)
            return
        del parent.filters[filter]
        # `a/#` may be what stands for all below `a`, and then it stays.
        if not (parent.is_coarse and parent.cover == filter):
            self._withdraw(filter)
        self._count(parent, -1)
        self._prune(parent)

    def _parent_of(self, filter: str) -> _Parent | None:
        """The parent that a filter counts for; ``None`` for what nothing can cover."""
        text, slash, _ = filter.rpartition("/")
        if not slash:
            return None if filter.startswith(_NOT_COVERED_BY_ONE) else self._root
        return self._parent(text)

    def _parent(self, text: str) -> _Parent:
        parent = self._parents.get(text)
        if parent is None:
            over, slash, _ = text.rpartition("/")
            above = self._parent(over) if slash else self._root
            parent = self._parents[text] = _Parent(text, above)
            above.below[text] = parent
        return parent

    def _is_covered(self, parent: _Parent) -> bool:
        """Whether a parent or one above it stands for what is below it."""
        if parent is self._root:
            return parent.is_coarse
        node: _Parent | None = parent
        # `+` of the root covers filters of one level only, which are its own.
        while node is not None and node is not self._root:
            if node.is_coarse:
                return True
            node = node.above
        return False

    def _count(self, parent: _Parent, change: int) -> None:
        """Count filters that came or went below a parent, and what follows above it."""
        node: _Parent | None = parent
        while node is not None and change:
            node.count += change
            above = node.above
            if node.is_coarse:
                change = self._refine(node) if node.count < self._fine_below else 0
            elif node.count > self._coarse_above:
                change += self._coarsen(node)
            # What is below deeper parents does not count for `+`.
            node = above if above is not self._root else None

    def _coarsen(self, node: _Parent) -> int:
        """Announce one filter for all below; returns by how many there are less."""
        if not self._is_covered(node):
            self._each_below(node, self._withdraw)
            self._announce(node.cover)
        node.is_coarse = True
        self.coarse += 1
        return 1 - node.count

    def _refine(self, node: _Parent) -> int:
        """Announce the filters below one by one; returns by how many there are more."""
        node.is_coarse = False
        self.coarse -= 1
        if not self._is_covered(node):
            self._withdraw(node.cover)
            self._each_below(node, self._announce)
        return node.count - 1

    def _each_below(self, node: _Parent, act: Callable[[str], None]) -> None:
        """Do something with everything that is announced below while this is not coarse."""
        for filter in node.filters:
            act(filter)
        if node is self._root:
            return
        for below in node.below.values():
            if below.is_coarse:
                act(below.cover)
            else:
                self._each_below(below, act)

    def _prune(self, parent: _Parent) -> None:
        """Forget parents without filters."""
        while parent.above is not None and not parent.filters and not parent.below:
            del self._parents[parent.text]
            del parent.above.below[parent.text]
            parent = parent.above
