"""The clients of a server, connected and sleeping: listed and ended.

Who is connected is told by all workers (`lyredb.operations.rollcall`); who sleeps stands in
the records of ``system.session``. Without a server there are only those.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from lyredb.errors import (
    FormatMismatch,
    Overloaded,
    PreconditionFailed,
    RecordNotFound,
    UnsupportedOperation,
)
from lyredb.operations.broker_requests import (
    MAX_FILTERS,
    ClientEntry,
    ClientList,
    KickClient,
    Kicked,
    ListClients,
)
from lyredb.operations.retained import checked_limit
from lyredb.operations.rollcall import RollCall
from lyredb.sessions import rows
from lyredb.sessions.terms import CLIENT_PREFIX, GROUP_PREFIX, Description
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.record import body_offset_of
from lyredb.storage.sequencer import Sequencer
from lyredb.storage.session_row import decode_progress, progress_name
from lyredb.storage.snapshot import Snapshot

LIST: Final = "mqtt/clients"
"""A question to workers: `ListClients` → lists of `ClientEntry`."""
KICK: Final = "mqtt/kick"
"""A question to workers: a client identifier → a part when its connection was ended."""

_logger: Final = logging.getLogger(__name__)
_descriptions: Final = msgspec.msgpack.Decoder(Description)
_entries: Final = msgspec.msgpack.Decoder(list[ClientEntry])
_START: Final = encode_key(CLIENT_PREFIX)
_TRIES: Final = 10
"""Of a deletion that the session's own writes cross: one at each change and at its end."""


class Clients:
    """The clients of one data directory.

    Args:
        engine: Has the sessions that sleep.
        sequencer: Where deletions of sessions go.
        workers: Asks those who have connections; ``None`` without a server.
        on_forgotten: Called with the identifier of each session that was deleted. Without a
            server its will stays on disk, and is published when there is one.
    """

    def __init__(
        self,
        engine: Engine,
        sequencer: Sequencer,
        workers: RollCall | None,
        on_forgotten: Callable[[str], None] = lambda client_id: None,
    ) -> None:
        self._on_forgotten = on_forgotten
        self._engine = engine
        self._sequencer = sequencer
        self._workers = workers

    async def listed(self, request: ListClients) -> ClientList:
        """Return clients in the order of their identifiers.

        Raises:
            InvalidInput: The limit is none.
        """
        limit = checked_limit(request.limit)
        # One more than is told says whether there are more.
        connected, missing = await self._connected(replace(request, limit=limit + 1))
        with self._engine.snapshot() as snapshot:
            numbers: dict[str, int] = {}
            sleeping = {}
            for entry, number in _described(snapshot, request):
                sleeping[entry.client_id], numbers[entry.client_id] = entry, number
            for one in connected:
                kept = sleeping.get(one.client_id)
                if kept is not None:
                    one = replace(one, expiry_s=kept.expiry_s)
                sleeping[one.client_id] = one
            wanted = (entry for entry in sleeping.values() if _is_wanted(entry.client_id, request))
            found = heapq.nsmallest(limit + 1, wanted, key=_by_id)
            after = found[limit - 1].client_id if len(found) > limit else ""
            told = [_with_progress(snapshot, one, numbers) for one in found[:limit]]
        return ClientList(told, missing, after)

    async def kick(self, request: KickClient) -> Kicked:
        """End a connection, and delete the session where that is asked.

        Raises:
            RecordNotFound: There is no such client.
            UnsupportedOperation: No server runs here, and a session is not to be deleted.
            StorageError: The session could not be deleted.
        """
        if self._workers is None and not request.forget:
            raise UnsupportedOperation("no server runs here, so nobody is connected")
        ended = 0
        if self._workers is not None:
            ended = len((await self._workers.ask(KICK, request.client_id.encode())).parts)
        is_forgotten = request.forget and await self._forget(request.client_id)
        if not ended and not is_forgotten:
            where = "" if request.forget else " connected"
            raise RecordNotFound(f"there is no client {request.client_id[:60]!r}{where}")
        _logger.info(
            "a client was ended by an operator",
            extra={"client": request.client_id, "forgotten": is_forgotten},
        )
        return Kicked(ended, is_forgotten)

    async def _connected(self, request: ListClients) -> tuple[list[ClientEntry], int]:
        if self._workers is None:
            return [], 0
        answers = await self._workers.ask(LIST, msgspec.msgpack.encode(request))
        return [one for part in answers.parts for one in _entries.decode(part)], answers.missing

    async def _forget(self, client_id: str) -> bool:
        """Delete a session with its rows; tell whether there was one."""
        for _ in range(_TRIES):
            with self._engine.snapshot() as snapshot:
                found = rows.find(snapshot, client_id)
                if found is None:
                    return False
                removed = rows.removal_of_rows(snapshot, found.description.number)
                is_over = found.is_over(snapshot.now_ms)
            removal = rows.removal_of(client_id, found.version)
            if is_over:
                removal = rows.expiration_of(found)
            try:
                await self._sequencer.commit((removal,), session_rows=removed)
            except PreconditionFailed:
                continue  # its connection has written it meanwhile, such as at its end
            self._on_forgotten(client_id)
            return not is_over
        raise Overloaded(f"the session of {client_id[:60]!r} changes all the time; try again")


def _described(snapshot: Snapshot, request: ListClients) -> Iterator[tuple[ClientEntry, int]]:
    """The sessions that are described in the store, with their numbers."""
    if request.client_id:
        key = encode_key(CLIENT_PREFIX + request.client_id)
        stored = snapshot.get(SESSION_SLOT, key)
        found: Iterable[tuple[bytes, bytes]] = () if stored is None else ((key, stored),)
    else:
        found = snapshot.scan(SESSION_SLOT, _START, _START + b"\xff")
    for key, stored in found:
        described = _entry_of(key, stored)
        if described is not None and not described[0].client_id.startswith(GROUP_PREFIX):
            yield described


def _with_progress(
    snapshot: Snapshot, entry: ClientEntry, numbers: Mapping[str, int]
) -> ClientEntry:
    """Add how much was in flight when a client that sleeps went."""
    if entry.connected:
        return entry
    row = snapshot.session_row(progress_name(numbers[entry.client_id]))
    if row is None:
        return entry
    try:
        return replace(entry, in_flight=len(decode_progress(row).in_flight))
    except FormatMismatch:
        _logger.error("the progress of the session %r is damaged", entry.client_id)
        return entry


def _entry_of(key: bytes, stored: bytes) -> tuple[ClientEntry, int] | None:
    try:
        told = _descriptions.decode(memoryview(stored)[body_offset_of(stored) :])
    except msgspec.DecodeError:
        _logger.error("the record %r of a session is damaged", key)
        return None
    entry = ClientEntry(
        client_id=told.client_id,
        user=told.user,
        connected=False,
        since_ms=told.since_ms,
        expiry_s=told.expiry_s,
        subscriptions=len(told.subscriptions),
        filters=tuple(one.filter for one in told.subscriptions[:MAX_FILTERS]),
    )
    return entry, told.number


def _is_wanted(client_id: str, request: ListClients) -> bool:
    if request.client_id:
        return client_id == request.client_id
    return client_id > request.after


def _by_id(entry: ClientEntry) -> str:
    return entry.client_id
