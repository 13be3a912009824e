"""Following the records of sessions: which filters a worker knows."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from lyredb.delivery.hub import Hub
from lyredb.delivery.tail import Tail
from lyredb.sessions.following import follow_sessions
from lyredb.sessions.terms import Description, StoredSubscription
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.schema import Schema
from tests.delivery.world import World


class Followed:
    """A store whose sessions are followed."""

    def __init__(self, path: Path, settings: StorageSettings | None = None) -> None:
        self.engine = Engine.open(path, settings=settings or StorageSettings(min_free_bytes=0))
        self.writer = Writer(self.engine, call_soon=lambda callback: None)
        Catalogue.open(self.engine, self.writer, Schema(()))
        self.write("early", "early/+")
        self.hub: Hub = World().hub
        self.tail = Tail(self.engine, self.hub, schedule=lambda callback: None)
        follow_sessions(self.engine, self.tail, self.hub.durable)

    def write(self, name: str, *filters: str, body: bytes | None = None) -> None:
        """Write a session's record, or delete it when it has no filters."""
        key = encode_key(f"client/{name}")
        subscriptions = tuple(StoredSubscription(one, 1) for one in filters)
        described = Description(name, "", 1, 1, 60, True, 0, subscriptions)
        kind = Kind.PUT if filters or body is not None else Kind.DELETE
        encoded = msgspec.msgpack.encode(described) if body is None else body
        self.writer.submit([Mutation(SESSION_SLOT, key, kind, encoded)], lambda _: None)
        self.writer.commit_now()
        while self.writer.maintain():
            pass

    def tell(self) -> None:
        self.tail.advance_to(self.engine.position)

    def knows(self, *topics: str) -> list[bool]:
        return [self.hub.durable.match(topic.encode()) for topic in topics]

    def close(self) -> None:
        self.writer.close()
        self.engine.close()


def test_each_change_is_known_when_it_is_told_and_not_before(tmp_path: Path) -> None:
    """The records of the start, those that come, change and go."""
    one = Followed(tmp_path / "data")
    assert one.knows("early/a", "late") == [True, False]
    one.write("late", "late", "later")
    assert one.knows("late", "later") == [False, False]
    one.tell()
    assert one.knows("early/a", "late", "later") == [True, True, True]
    one.write("late", "later")
    one.write("early")
    one.tell()
    assert one.knows("early/a", "late", "later") == [False, False, True]
    one.close()


def test_a_damaged_record_costs_nobody_else_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its session has no filters, and the operator is told which it is."""
    one = Followed(tmp_path / "data")
    with caplog.at_level(logging.ERROR):
        one.write("broken", body=msgspec.msgpack.encode({"subscriptions": 7}))
        one.write("whole", "whole")
        one.tell()
    assert one.knows("whole", "early/a") == [True, True]
    assert "client/broken" in caplog.text
    one.close()


def test_all_are_read_again_when_the_log_was_trimmed_before_it_was_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A filter that nobody has told of would lose messages, one that is gone log them for ever."""
    tiny = StorageSettings(map_size=1 << 28, min_free_bytes=0, segment_bytes=1, retention_bytes=1)
    one = Followed(tmp_path / "data", tiny)
    one.write("early")
    one.write("late", "late")
    for number in range(12):
        one.write("other", f"other/{number}")
    assert one.engine.floor > one.tail.position + 1
    with caplog.at_level(logging.CRITICAL):
        one.tell()
    assert one.knows("early/a", "late", "other/11", "other/10") == [False, True, True, False]
    one.close()
