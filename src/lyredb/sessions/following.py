"""Every worker knows the filters of all durable sessions, by following their records.

All of them are read at the start, then each change comes with the log, before any later
entry is told: a worker that stands at a position publishes by the filters of that position.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from lyredb.delivery.durable import DurableFilters
from lyredb.delivery.tail import Tail
from lyredb.sessions.terms import StoredSubscription
from lyredb.storage.engine import Engine
from lyredb.storage.entry import Entry
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.record import body_offset_of

_logger: Final = logging.getLogger(__name__)


class _Part(msgspec.Struct, frozen=True):
    """What of a description is needed here; records of web sessions have none."""

    subscriptions: tuple[StoredSubscription, ...] = ()


_decoder: Final = msgspec.msgpack.Decoder(_Part)


def follow_sessions(engine: Engine, tail: Tail, durable: DurableFilters) -> None:
    """Have the filters of durable sessions known from now on. O(sessions), about 10 µs each.

    Args:
        engine: Where the records are.
        tail: Stands at its beginning: nothing was told since it was made.
        durable: What is to know them.
    """

    def heed(entry: Entry) -> None:
        if not entry.changes_record:
            return
        if entry.image:
            durable.replace(entry.key, _filters_in(entry.key, entry.image))
        else:
            durable.remove(entry.key)

    def read_all() -> None:
        found = set()
        with engine.snapshot() as snapshot:
            for key, image in snapshot.scan_stored(SESSION_SLOT):
                found.add(key)
                durable.replace(key, _filters_in(key, image))
        for key in durable.session_keys - found:
            durable.remove(key)

    tail.on_slot(SESSION_SLOT, heed)
    tail.on_skip(read_all)
    read_all()


def _filters_in(key: bytes, image: bytes) -> list[str]:
    """The filters by which messages have to be kept for a session: those with QoS 1 and 2."""
    try:
        part = _decoder.decode(memoryview(image)[body_offset_of(image) :])
    except msgspec.DecodeError:
        _logger.error("the record %r of a session is damaged: nothing is kept for it", key)
        return []
    return [one.filter for one in part.subscriptions if one.qos]
