"""Writes: authorise, validate, encode, fence, hand to the writer.

A write holds back direct messages of its record in this process until the tail has
delivered it, so that a subscriber sees one publisher's messages of a topic in the
order in which they were sent, logged or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from msgspec.structs import replace

from lyredb.delivery.admission import Destination
from lyredb.errors import (
    InvalidRecord,
    LyreError,
    PreconditionFailed,
    RecordExists,
    UnsupportedOperation,
)
from lyredb.formats import JSON, format_for_content_type, guess_json
from lyredb.plugins.context import Context
from lyredb.resources.access import Access, Decision
from lyredb.resources.integers import IntegerKeys
from lyredb.resources.registry import shorten
from lyredb.resources.requests import Write, WriteOperation, Written
from lyredb.resources.write_limit import WriteLimit
from lyredb.storage.keys import KeyValue, encode_full_key, is_short_form
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.mutation import Applied, Kind, Mutation, Precondition
from lyredb.tables.stored import StoredTable

if TYPE_CHECKING:
    from lyredb.delivery.fence import HeldMessage
    from lyredb.storage.sequencer import Sequencer

Done = Callable[[Written | LyreError], None]

_DECISIONS: dict[WriteOperation, Decision] = {
    "put": "save",
    "patch": "save",
    "create": "insert",
    "delete": "delete",
}


class Fence(Protocol):
    """What holds direct messages of a record back; `lyredb.delivery.hub.Hub` is one."""

    def hold(self, slot: int, key: bytes) -> None:
        """Let direct messages of this record wait."""

    def take_held(self, slot: int, key: bytes) -> list[HeldMessage]:
        """Take those that have to be logged before the next write of this record."""

    def push_held(self, held: HeldMessage) -> None:
        """Take one back."""

    def release(self, slot: int, key: bytes, seq: int) -> None:
        """Let them go once the tail has passed ``seq``; 0 lets them go at once."""


class Writing:
    """Turns a `Write` into a mutation and its reply into `Written`."""

    def __init__(self, writer: Sequencer, fence: Fence, access: Access) -> None:
        self._writer = writer
        self._fence = fence
        self._access = access
        self._integers = IntegerKeys(writer)

    def admit(self, operation: WriteOperation, table: StoredTable, context: Context) -> None:
        """Decide before a body is read whether such a write may come at all.

        Raises:
            NotAuthorised: It may not.
        """
        self._access.require(context.principal, _DECISIONS[operation], table)

    def submit(self, write: Write, context: Context, done: Done) -> None:
        """Send one write; ``done`` gets its result after the commit, in order of arrival.

        A ``create`` whose key is the next integer may have to wait for a block of those
        first: then later writes go on before it, and all of its errors come to ``done``.

        Raises:
            NotAuthorised, InvalidRecord, InvalidBody, InvalidKey, UnsupportedOperation,
            Overloaded: Nothing was sent and ``done`` will not be called.
        """
        table = write.target.table
        limit = self._admitted(write, context)
        integer = None
        if _needs_integer(write):
            integer = self._integers.take(table.slot)
            if integer is None:
                self._integers.wait(table.slot, partial(self._resume, write, context, done))
                return
        self._send(write, context, done, limit, integer)

    def _admitted(self, write: Write, context: Context) -> WriteLimit | None:
        """Decide, and return what the writer has to see to.

        Whether a record is new is known there only.

        Raises:
            NotAuthorised: It may not be.
        """
        table = write.target.table
        self._access.require(context.principal, _DECISIONS[write.operation], table)
        return self._access.limit(context.principal, table)

    def _resume(
        self, write: Write, context: Context, done: Done, failure: LyreError | None
    ) -> None:
        """Go on with a creation that has waited for an integer."""
        if failure is not None:
            done(failure)
            return
        try:
            self.submit(write, context, done)
        except LyreError as error:
            done(error)

    def _send(
        self,
        write: Write,
        context: Context,
        done: Done,
        limit: WriteLimit | None,
        integer: int | None,
    ) -> None:
        table = write.target.table
        record_id, mutation = self._mutation(write, context, limit, integer)
        slot, key = mutation.slot, mutation.key

        def reply(result: Applied | LyreError) -> None:
            if isinstance(result, LyreError):
                self._fence.release(slot, key, 0)
                if integer is not None and isinstance(result, RecordExists):
                    # Somebody chose this key while it was leased: the next block is above it.
                    self._integers.discard(slot)
                    self._resume(write, context, done, None)
                    return
                done(_meaning(result, write, mutation, limit))
                return
            outcome = result.outcomes[0]
            self._fence.release(slot, key, outcome.seq)
            done(Written(record_id, outcome.version, outcome.seq, outcome.existed, table))

        self._log_held(slot, key)
        self._writer.submit((mutation,), reply)
        # Only now: a write that was not taken must not answer the hold of an earlier one.
        self._fence.hold(slot, key)

    def _log_held(self, slot: int, key: bytes) -> None:
        """Log what was published between the last write of a record and the next one."""
        taken = self._fence.take_held(slot, key)
        if not taken:
            return

        def reply(result: Applied | LyreError) -> None:
            if isinstance(result, LyreError):
                self._fence.release(slot, key, 0)
                self._give_back(taken)
            else:
                self._fence.release(slot, key, result.position)

        try:
            self._writer.submit([_held_mutation(held) for held in taken], reply)
        except LyreError:
            self._give_back(taken)
        else:
            self._fence.hold(slot, key)

    def _give_back(self, taken: Iterable[HeldMessage]) -> None:
        """Out of turn for other workers is better than lost."""
        for held in taken:
            self._fence.push_held(held)

    def prepare(self, write: Write, context: Context) -> Mutation:
        """Decide and encode a write of one record that somebody else may send later.

        Its deadline is that of the write: who sends it adds what the table says.

        Raises:
            NotAuthorised, InvalidRecord, InvalidBody, InvalidKey, UnsupportedOperation.
        """
        return self._mutation(write, context, self._admitted(write, context), None)[1]

    def _mutation(
        self, write: Write, context: Context, limit: WriteLimit | None, integer: int | None
    ) -> tuple[KeyValue, Mutation]:
        if write.operation == "create":
            record_id, mutation = _creation(write, context, integer)
            return record_id, mutation if limit is None else limit.applied(mutation)
        target = write.target
        if target.id is None or target.kind != "record":
            name = target.table.schema.name
            raise UnsupportedOperation(f"only a record can be written: name one, as in {name}/42")
        match write.operation:
            case "delete":
                mutation = _assemble(write, context, target.id, Kind.DELETE)
            case "patch":
                mutation = self._patch(write, context, target.id)
            case _:
                is_partial = limit is not None and limit.is_partial
                mutation = _put(write, context, target.id, is_partial=is_partial)
        if limit is not None:
            mutation = limit.applied(mutation)
        return target.id, mutation

    @staticmethod
    def _patch(write: Write, context: Context, record_id: KeyValue) -> Mutation:
        body, operations = write.target.table.encode_changes(_mapping(write.value), record_id)
        return _assemble(write, context, record_id, Kind.PATCH, body=body, operations=operations)


def message_mutation(
    destination: Destination,
    payload: bytes,
    context: Context,
    *,
    qos: int,
    content_type: str,
    properties: bytes,
) -> Mutation:
    """A message that is no record, for the log: whoever listens there is told it."""
    key = destination.key
    return Mutation(
        slot=destination.slot,
        key=key,
        kind=Kind.MESSAGE,
        body=payload,
        metadata=encode_metadata(content_type=content_type, properties=properties),
        full_id=encode_full_key(cast("KeyValue", destination.id)) if is_short_form(key) else b"",
        qos=qos,
        user=context.user,
        session=context.session,
    )


def _held_mutation(held: HeldMessage) -> Mutation:
    message = held.message
    ingress = held.path.ingress
    context = Context(ingress.principal, ingress.protocol, session=message.session)
    mutation = message_mutation(
        held.path.destination,
        message.data,
        context,
        qos=message.qos,
        content_type=message.content_type,
        properties=message.properties,
    )
    return replace(mutation, expires_ms=message.expires_ms)


def _creation(write: Write, context: Context, integer: int | None) -> tuple[KeyValue, Mutation]:
    table = write.target.table
    value = _mapping(write.value)
    given = value.get(table.schema.primary_key)
    if given is None:
        record_id = table.generate_key(partial(_leased, integer))
    else:
        record_id = table.check_key(given)
    body = table.encode(value, record_id)
    mutation = _assemble(
        write,
        context,
        record_id,
        Kind.PUT,
        body=body,
        precondition=Precondition(must_be_absent=True),
    )
    return record_id, mutation


def _needs_integer(write: Write) -> bool:
    """Tell whether a record is to be made whose key is the next integer."""
    table, value = write.target.table, write.value
    return (
        write.operation == "create"
        and table.generates_integers
        and isinstance(value, Mapping)
        and value.get(table.schema.primary_key) is None
    )


def _leased(integer: int | None) -> int:
    if integer is None:
        raise UnsupportedOperation("a write that somebody else sends must name its record")
    return integer


def _put(write: Write, context: Context, record_id: KeyValue, *, is_partial: bool) -> Mutation:
    """A put; of a user who may not change all, ``is_partial``, it need not have all."""
    table = write.target.table
    value = write.value if write.value is not None else _structured(write)
    if value is not None:
        record = _mapping(value)
        body = _part(table, record, record_id) if is_partial else table.encode(record, record_id)
        return _assemble(write, context, record_id, Kind.PUT, body=body)
    _require_opaque(table, write.content_type)
    metadata = encode_metadata(content_type=write.content_type, properties=write.properties)
    return _assemble(
        write, context, record_id, Kind.PUT, body=write.payload, metadata=metadata, opaque=True
    )


def _part(table: StoredTable, record: Mapping[str, object], record_id: KeyValue) -> bytes:
    """The body of a put to which its commit adds what stays: then it has to be whole."""
    body, operations = table.encode_changes(record, record_id)
    if operations:
        raise InvalidRecord("a put replaces values; send a PATCH to add to them")
    return body


def _structured(write: Write) -> Mapping[str, object] | None:
    """The record that a payload is, or ``None`` when it is to be kept as bytes.

    Open topics keep every payload byte for byte. With a content type that we can
    decode the payload has to be what it says; without one, what begins with ``{`` has
    to be an object: kept as bytes, a broken one would replace a good record.

    Raises:
        InvalidBody, NestingTooDeep: It is not what it has to be.
    """
    if write.target.table.is_open_topics:
        return None
    if write.content_type:
        structured = format_for_content_type(write.content_type)
    else:
        structured = JSON if guess_json(write.payload) else None
    if structured is None:
        return None
    value = structured.decode(write.payload)
    return value if isinstance(value, dict) else None


def _require_opaque(table: StoredTable, content_type: str) -> None:
    """Refuse bytes that are no record where each record has to have a certain form."""
    if table.layout.sealed is None and not table.layout.required:
        return
    names = ", ".join(sorted(table.layout.required))
    wanted = f"with {names}" if names else "of declared attributes"
    sent = f"with the content type {shorten(content_type)}" if content_type else "without one"
    raise InvalidRecord(
        f"records of {table.schema.name} must be objects {wanted}: application/json is expected "
        f"as the content type, this came {sent}"
    )


def _mapping(value: object) -> Mapping[str, object]:
    if type(value) is dict:  # the common case: asking for a Mapping takes four times as long
        return value
    if not isinstance(value, Mapping):
        raise InvalidRecord("a record must be an object")
    return value


def _assemble(
    write: Write,
    context: Context,
    record_id: KeyValue,
    kind: Kind,
    *,
    body: bytes = b"",
    operations: bytes = b"",
    metadata: bytes = b"",
    opaque: bool = False,
    precondition: Precondition | None = None,
) -> Mutation:
    table = write.target.table
    key = write.target.key or table.encode_key(record_id)
    return Mutation(
        slot=table.slot,
        key=key,
        kind=kind,
        body=body,
        operations=operations,
        metadata=metadata,
        opaque=opaque,
        precondition=precondition or write.precondition,
        full_id=encode_full_key(record_id) if is_short_form(key) else b"",
        expires_ms=write.expires_ms,
        retain=write.retain,
        qos=write.qos,
        user=context.user,
        session=context.session,
    )


def _meaning(
    error: LyreError, write: Write, mutation: Mutation, limit: WriteLimit | None
) -> LyreError:
    """A record that exists is a conflict for ``create`` and a failed condition for others.

    Where it may not be replaced, or may not be made, it is a lack of rights.
    """
    if write.operation == "create" and isinstance(error, RecordExists):
        return RecordExists("Record already exists")
    refusal = None if limit is None else limit.refusal(error, mutation, write.precondition)
    if refusal is not None:
        return refusal
    if isinstance(error, RecordExists):
        return PreconditionFailed("the record exists already, and the request asked for none")
    return error
