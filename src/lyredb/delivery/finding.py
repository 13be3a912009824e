"""Where the log has entries of ranges of keys, found in bounded steps.

A filter of one device among thousands is not found by reading what the thousands have
written: each record and each grave says where its last entry is, so those of the range are
looked at, and of the few that were touched the log's index knows all entries. That costs what
the range has; going through the table's entries costs what they are. The cheaper way is taken,
and what the search did not see, as it came meanwhile, is found by the table.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from lyredb.storage.entry import Entry
from lyredb.storage.frontier import KeyRange
from lyredb.storage.mutation import Kind
from lyredb.storage.record import last_seq_of

if TYPE_CHECKING:
    from lyredb.storage.snapshot import Snapshot

PAGE: Final = 1_000
"""Records and graves that a step looks at, 0.3 ms."""
KEYS: Final = 100
"""Touched ones that a step looks up in the log's index, 0.7 ms."""
CHEAPER: Final = 10
"""Times that looking at a record is cheaper than reading an entry."""
CHEAPER_BY_TOPIC: Final = 2
"""The same where the topic of each touched one has to be made and compared."""
MAX_TOUCHED: Final = 20_000
MAX_FOUND: Final = 50_000
"""Beyond these the table's entries are gone through: 0.4 MB for each who reads."""
RECENT: Final = 100
"""Entries of the table since a search began, 0.5 ms to read; then it is shared no more."""
MAX_RECENT: Final = 16
"""Searches that are kept to be shared, 0.4 MB each at most."""

IsWanted: TypeAlias = Callable[[int, bytes, bytes], bool]
"""Tells whether a record counts, by slot, key and stored value."""
_seq = attrgetter("seq")


class Searches:
    """Searches of a worker, which equal filters share: many wake at once after a loss of network.

    Only while a search is recent, so that what it did not see is little, and few of them.
    """

    def __init__(self) -> None:
        self._recent: dict[tuple[str, int], _Search] = {}

    def of(self, snapshot: Snapshot, filter: str, made: _Search) -> _Search:
        """Return a search that has all that a new one of the filter would find, or that one.

        Args:
            snapshot: Of now.
            filter: The topic filter, by which equal ones are known.
            made: The new one; nothing was done for it yet.
        """
        key = (filter, made.slot)
        known = self._recent.pop(key, None)
        if known is None or not known.replaces(made, snapshot):
            known = made
        self._recent[key] = known
        if len(self._recent) > MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        return known

    def forget(self) -> None:
        """Share none of these any more: topics have changed."""
        self._recent.clear()


class Finder:
    """Finds the entries of ranges of keys behind a position.

    Args:
        ranges: Where to look.
        is_wanted: Which records of the ranges count; ``None``: all. What is found may still
            hold others.
        filter: What is wanted, by name; equal ones have the same ranges mostly.
        searches: Where it may find what it would do done already.
        is_brief: Look at a page of records at most: who goes backwards finds the last entries
            of many records sooner by the table.
    """

    def __init__(
        self,
        ranges: Sequence[KeyRange],
        is_wanted: IsWanted | None = None,
        *,
        filter: str = "",
        searches: Searches | None = None,
        is_brief: bool = False,
    ) -> None:
        self._filter = filter
        self._shared = searches
        self._by_slot: dict[int, list[KeyRange]] = {}
        for wanted in ranges:
            self._by_slot.setdefault(wanted.slot, []).append(wanted)
        self._is_wanted = is_wanted
        self._is_brief = is_brief
        self._searches: dict[int, _Search] | None = None

    def step(self, snapshot: Snapshot, after: int) -> bool:
        """Do a bounded part of the search; tell whether `entries` may be asked.

        Args:
            after: Entries behind this position are looked for; the same in each step.
        """
        if not snapshot.catch_up_index():
            return False
        if self._searches is None:
            self._searches = {
                slot: self._search(snapshot, slot, of_slot, after)
                for slot, of_slot in self._by_slot.items()
                if not all(map(is_one_key, of_slot))
            }
        for search in self._searches.values():
            if not search.is_over:
                search.step(snapshot)
                break
        return all(search.is_over for search in self._searches.values())

    def _search(
        self, snapshot: Snapshot, slot: int, ranges: Sequence[KeyRange], after: int
    ) -> _Search:
        upto = snapshot.position
        made = _Search(slot, ranges, after, upto, self._is_wanted, is_brief=self._is_brief)
        if self._shared is None:
            return made
        return self._shared.of(snapshot, self._filter, made)

    def entries(
        self, snapshot: Snapshot, after: int, upto: int, *, reverse: bool = False
    ) -> Iterator[Entry]:
        """Yield the entries with ``after < seq <= upto``, in order or backwards.

        There may be others of the tables among them; `concerns` tells. To be asked when `step`
        has said so.
        """
        sources = [
            source
            for slot, of_slot in self._by_slot.items()
            for source in self._sources(snapshot, slot, of_slot, after, upto, reverse=reverse)
        ]
        return heapq.merge(*sources, key=_seq, reverse=reverse)

    def _sources(
        self,
        snapshot: Snapshot,
        slot: int,
        ranges: Sequence[KeyRange],
        after: int,
        upto: int,
        *,
        reverse: bool,
    ) -> Iterator[Iterator[Entry]]:
        assert self._searches is not None, "asked before it was looked for"
        search = self._searches.get(slot)
        if search is None:
            for wanted in ranges:
                yield snapshot.entries_of(slot, wanted.start, after, upto, reverse=reverse)
        elif search.found is None:
            yield snapshot.entries_of(slot, None, after, upto, reverse=reverse)
        else:
            found = search.entries(snapshot, after, upto, reverse=reverse)
            since = max(after, search.upto)
            later = snapshot.entries_of(slot, None, since, upto, reverse=reverse)
            yield chain(later, found) if reverse else chain(found, later)


class _Search:
    """The search in one table.

    Attributes:
        slot: The table's.
        upto: The position up to which all entries are found.
        found: Positions of entries, ascending; ``None`` until it is over, and when going
            through the table's entries is the better way.
        is_over: Nothing is left to be done.
    """

    def __init__(
        self,
        slot: int,
        ranges: Sequence[KeyRange],
        after: int,
        upto: int,
        is_wanted: IsWanted | None,
        *,
        is_brief: bool,
    ) -> None:
        self.upto = upto
        self.found: Sequence[int] | None = None
        self.slot = slot
        self._ranges = tuple(ranges)
        self._after = after
        self._is_wanted = is_wanted
        # Messages to the root topic leave no grave; of a single key the index knows all.
        self._touched: dict[bytes, None] = dict.fromkeys(
            key for one in ranges for key in ([one.start] if is_one_key(one) else _root_of(one))
        )
        self._left = [(one.start, one.stop) for one in ranges if not is_one_key(one)]
        is_whole = is_wanted is None and (b"", None) in self._left
        self._seqs: list[int] = []
        self._keys: Sequence[bytes] | None = None
        self._looked_up = 0
        self._is_brief = is_brief
        self._is_decided = False
        self.is_over = upto <= after or is_whole
        if upto <= after:
            self.found = ()

    def replaces(self, other: _Search, snapshot: Snapshot) -> bool:
        """Tell whether what another would find is here, but for little that came since."""
        if self._ranges != other._ranges or self._after > other._after:
            return False
        if self.is_over and self.found is None:
            return False
        since = snapshot.positions_of(self.slot, None, self.upto, other.upto)
        return sum(1 for _ in islice(since, RECENT + 1)) <= RECENT

    def step(self, snapshot: Snapshot) -> None:
        """Do a bounded part."""
        if self._left:
            self._look(snapshot)
            if self._left and not self._is_decided:
                self._is_decided = True
                self.is_over = self._is_brief or not self._is_worth(snapshot)
            self.is_over |= len(self._touched) > MAX_TOUCHED
            if self._left or self.is_over:
                return
        if self._keys is None:
            self._keys = tuple(self._touched)
        self._look_up(snapshot, self._keys)

    def entries(
        self, snapshot: Snapshot, after: int, upto: int, *, reverse: bool
    ) -> Iterator[Entry]:
        """Yield what was found between two positions."""
        found = self.found or ()
        seqs = found[bisect_right(found, after) : bisect_right(found, upto)]
        for seq in reversed(seqs) if reverse else seqs:
            entry = snapshot.entry(seq)
            if entry is not None:  # a part of the log may have gone meanwhile
                yield entry

    def _look(self, snapshot: Snapshot) -> None:
        """Look at a page of records, and at the graves between them.

        Both in one snapshot: a record that is deleted, or made anew, is in one of the two.
        """
        start, stop = self._left[0]
        records = list(islice(snapshot.scan_stored(self.slot, start, stop), PAGE))
        end = records[-1][0] + b"\x00" if len(records) == PAGE else stop
        graves = list(islice(snapshot.scan_graves(self.slot, start, end), PAGE))
        if len(graves) == PAGE:
            end = graves[-1][0] + b"\x00"
            records = records[: bisect_left(records, end, key=_key)]
        self._take(records)
        self._take(graves)
        if end == stop:
            del self._left[0]
        else:
            assert end is not None
            self._left[0] = end, stop

    def _take(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        after, slot, is_wanted = self._after, self.slot, self._is_wanted
        for key, stored in rows:
            if last_seq_of(stored) > after and (is_wanted is None or is_wanted(slot, key, stored)):
                self._touched[key] = None

    def _is_worth(self, snapshot: Snapshot) -> bool:
        """Tell whether looking at the rest is cheaper than reading the table's entries."""
        rest = sum(
            estimate(self.slot, start, stop)
            for start, stop in self._left
            for estimate in (snapshot.estimate_records, snapshot.estimate_graves)
        )
        most = rest // (CHEAPER if self._is_wanted is None else CHEAPER_BY_TOPIC)
        positions = snapshot.positions_of(self.slot, None, self._after, self.upto)
        return sum(1 for _ in islice(positions, most + 1)) > most

    def _look_up(self, snapshot: Snapshot, keys: Sequence[bytes]) -> None:
        """Look up where the entries of some touched records are."""
        until = min(self._looked_up + KEYS, len(keys))
        for key in keys[self._looked_up : until]:
            self._seqs += snapshot.positions_of(self.slot, key, self._after, self.upto)
        self._looked_up = until
        if until and len(self._seqs) // until * len(keys) > MAX_FOUND:
            self.is_over = True
        elif until == len(keys):
            self.is_over = True
            self.found = array("Q", sorted(set(self._seqs)))
        if self.is_over:
            self._seqs.clear()
            self._touched.clear()


def concerns(ranges: Sequence[KeyRange], entry: Entry) -> bool:
    """Tell whether an entry is a change or message of what lies in the ranges."""
    return entry.kind <= Kind.MESSAGE and any(
        wanted.contains(entry.slot, entry.key) for wanted in ranges
    )


def is_one_key(wanted: KeyRange) -> bool:
    """Tell whether a range has one record only."""
    return wanted.stop == wanted.start + b"\x00"


def _root_of(wanted: KeyRange) -> tuple[bytes, ...]:
    return () if wanted.start else (b"",)


def _key(row: tuple[bytes, bytes]) -> bytes:
    return row[0]
