from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from lyredb.errors import (
    InvalidRecord,
    LyreError,
    PreconditionFailed,
    RecordExists,
    WriteConflict,
)
from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Applied, Mutation, Precondition
from lyredb.storage.record import decode_header
from tests.storage.store import (
    SLOT,
    SMALL,
    Store,
    add,
    body_of,
    check_of,
    delete,
    message,
    patch,
    put,
)

Record = dict[str, Any]
names = st.sampled_from(["a", "b", "c", "d"])
values = st.one_of(st.integers(0, 3), st.sampled_from([None, "x", [1, 2]]))
wishes = st.sampled_from(
    [None, "must_exist", "must_be_absent", "any_of", "none_of", "read_version"]
)
changes = st.tuples(
    st.sampled_from(["put", "patch", "add", "delete", "message", "check"]), names, values, wishes
)


class WriterModel(RuleBasedStateMachine):
    """The writer against a dict: groups, rejections, restarts, trimming."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name), settings=SMALL)
        self.model: dict[str, Record] = {}
        self.versions: dict[str, int] = {}
        self.waiting: list[tuple[list[Applied | LyreError], list[Any]]] = []

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(transaction=st.lists(changes, min_size=1, max_size=3))
    def submit(self, transaction: list[Any]) -> None:
        """Add a transaction to the group."""
        mutations = [self.mutation(*change) for change in transaction]
        self.waiting.append((self.store.submit(*mutations), transaction))

    def mutation(self, kind: str, name: str, value: object, wish: str | None) -> Mutation:
        made = {
            "put": lambda: put(name, value=value),
            "patch": lambda: patch(name, value=value, other=1),
            "add": lambda: add(name, value=2),
            "delete": lambda: delete(name),
            "message": lambda: message(name),
            "check": lambda: check_of(name),
        }[kind]()
        wanted: dict[str, Any] = {wish: True} if wish else {}
        if wish in ("any_of", "none_of"):
            wanted = {wish: frozenset({self.versions.get(name, 0)})}
        elif wish == "read_version":
            wanted = {wish: self.versions.get(name, 0)}
        return replace(made, precondition=Precondition(**wanted)) if wanted else made

    @precondition(lambda self: self.waiting)
    @rule()
    def commit(self) -> None:
        """Commit the group, and expect of each transaction what the dict says."""
        before = self.versions.copy()
        self.store.run()
        for replies, transaction in self.waiting:
            (reply,) = replies
            expected = self.expect(transaction, before)
            if isinstance(expected, dict):
                assert isinstance(reply, Applied), reply
                self.model = expected
                self.note_versions(transaction, reply)
            else:
                assert isinstance(reply, expected)
        self.waiting = []

    def expect(
        self, transaction: list[Any], before: dict[str, int]
    ) -> dict[str, Record] | type[LyreError]:
        """Return the records after a transaction, or the error that it meets."""
        for _, name, _, wish in transaction:
            if wish == "read_version" and self.versions.get(name, 0) != before.get(name, 0):
                return WriteConflict
        model = {name: dict(record) for name, record in self.model.items()}
        written: set[str] = set()
        for kind, name, value, wish in transaction:
            same = name not in written and self.versions.get(name) == before.get(name, 0)
            refusal = self.refusal(wish, here=name in model, same=same)
            if refusal is not None:
                return refusal
            if kind == "put":
                model[name] = {"value": value}
            elif kind == "patch":
                model[name] = {**model.get(name, {}), "value": value, "other": 1}
            elif kind == "delete":
                model.pop(name, None)
            elif kind == "add":
                record = model.setdefault(name, {})
                present = record.get("value") or 0
                if not isinstance(present, int):
                    return InvalidRecord
                record["value"] = present + 2
            if kind not in ("message", "check"):
                written.add(name)
        return model

    @staticmethod
    def refusal(wish: str | None, *, here: bool, same: bool) -> type[LyreError] | None:
        """Return the error of a wish that a record does not meet at its turn."""
        if (wish == "must_exist" and not here) or (wish == "any_of" and not (here and same)):
            return PreconditionFailed
        if wish == "must_be_absent" and here:
            return RecordExists
        if wish == "none_of" and here and same:
            return PreconditionFailed
        return None

    def note_versions(self, transaction: list[Any], reply: Applied) -> None:
        if not reply.outcomes:
            assert all(kind == "message" for kind, *_ in transaction)
            return
        for (kind, name, _, _), outcome in zip(transaction, reply.outcomes, strict=True):
            if kind == "delete":
                self.versions.pop(name, None)
            elif kind not in ("message", "check"):
                self.versions[name] = outcome.version

    @precondition(lambda self: not self.waiting)
    @rule()
    def reopen(self) -> None:
        """Everything is on disk at any moment."""
        self.store.close()
        self.store = Store(Path(self.folder.name), settings=SMALL)

    @invariant()
    def agrees(self) -> None:
        """Records are those of the dict, and indexes and log agree with them."""
        if self.waiting:
            return
        assert check(self.store.engine) == []
        assert self.records(self.store.engine) == self.model

    @staticmethod
    def records(engine: Engine) -> dict[str, Record]:
        with engine.snapshot() as snapshot:
            found = {key: stored for key, stored in snapshot.scan(SLOT)}
        assert all(decode_header(stored).version for stored in found.values())
        return {
            name: body_of(found[encode_key(name)]) for name in "abcd" if encode_key(name) in found
        }


WriterModel.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestWriterModel = WriterModel.TestCase
