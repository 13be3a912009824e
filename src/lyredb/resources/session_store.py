"""What sessions need of the store: their records and rows, and single messages of the log.

Sessions' progress is the one thing that is written past the access decisions: nobody asks
for it, and no path leads to it. What a session tells again was decided when it was told
first, and is decided again here, by the rights of now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lyredb.delivery.message import Message
from lyredb.delivery.position import format_position
from lyredb.errors import LyreError
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message as AnyMessage
from lyredb.resources.coverage import coverage
from lyredb.resources.subscription_parts import Rooms
from lyredb.storage import directory as directories
from lyredb.storage.apply import Rows
from lyredb.storage.entry import Entry
from lyredb.storage.mutation import Mutation
from lyredb.storage.record import decode_header
from lyredb.storage.sequencer import Result, Sequencer
from lyredb.storage.snapshot import Snapshot


class SessionStore:
    """Reads and writes for `lyredb.sessions`.

    Args:
        rooms: What subscriptions work with too.
        writer: Where everything goes that is written.
        when_told: See `Database.when_told`.
    """

    def __init__(
        self,
        rooms: Rooms,
        writer: Sequencer,
        when_told: Callable[[int, Callable[[], None]], None],
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self.when_told = when_told

    @property
    def log(self) -> bytes:
        """The first 8 bytes of the log's identity."""
        return self._rooms.engine.log_id[:8]

    @property
    def position(self) -> int:
        """The last position that this worker has told subscribers of."""
        return self._rooms.hub.position

    @property
    def half(self) -> int:
        """Where the newest half of the log begins; older positions may be lost before long."""
        return directories.half_of(self._rooms.engine.directory)

    def now_ms(self) -> int:
        """The wall clock of the store, epoch milliseconds."""
        return self._rooms.engine.now_ms()

    def token(self, seq: int, slot: int | None = None, key: bytes = b"") -> str:
        """The position token to subscribe with, of a scan when a slot is given."""
        return format_position(self._rooms.hub.log_id, seq, slot, key)

    def snapshot(self) -> Snapshot:
        """What is committed now, by whichever worker.

        Raises:
            EngineClosed, StorageFailed: It cannot be read.
        """
        self._rooms.engine.refresh()
        return self._rooms.engine.snapshot()

    def flush(self) -> None:
        """Have subscribers get what was told to the hub before."""
        self._rooms.hub.flush()

    def submit(
        self, mutations: Sequence[Mutation], rows: Rows, done: Callable[[Result], None]
    ) -> None:
        """Commit mutations of sessions' records, and rows beside them, in one transaction.

        Raises nothing: what is not taken is told to ``done`` before this returns.
        """
        try:
            self._writer.submit(mutations, done, session_rows=rows)
        except LyreError as error:
            done(error)

    def place_of(self, message: AnyMessage, context: Context) -> tuple[int, bytes]:
        """Slot and key of a message's record."""
        target = self._rooms.registry.topic(message.topic.decode(), context.protocol)
        return target.table.slot, target.key

    def message_at(self, seq: int, context: Context) -> Message | None:
        """What an entry of the log tells, ``None`` when it is gone, or not to be seen.

        Also past its expiry: who has been sent it may have it, and has to go on [MQTT-4.3.3-7].
        """
        with self._rooms.engine.snapshot() as snapshot:
            entry = snapshot.entry(seq) if seq else None
        if entry is None:
            return None
        made = self._of_entry(entry)
        return None if made is None else self._seen(made, context)

    def current_at(self, slot: int, key: bytes, context: Context) -> Message | None:
        """A record as it is now, ``None`` when it is gone or not to be seen."""
        rooms = self._rooms
        table = rooms.registry.tables.get(slot)
        stored = None if table is None else rooms.engine.record(slot, key)
        if table is None or stored is None:
            return None
        token = format_position(rooms.hub.log_id, rooms.hub.position)
        for topic in self._topics(slot, key, stored):
            return self._seen(Message.of_record(table, key, stored, topic, token), context)
        return None

    def _topics(self, slot: int, key: bytes, stored: bytes) -> tuple[bytes, ...]:
        full_id = decode_header(stored).full_id
        return self._rooms.registry.of(slot, full_id or key)

    def _of_entry(self, entry: Entry) -> Message | None:
        registry = self._rooms.registry
        table = registry.tables.get(entry.slot)
        if table is None:
            return None
        for topic in registry.of(entry.slot, entry.full_id or entry.key):
            return Message.of_entry(entry, table, topic, self._rooms.hub.log_id)
        return None

    def _seen(self, message: Message, context: Context) -> Message | None:
        rooms = self._rooms
        try:
            covered = coverage(message.topic.decode(), rooms.registry, rooms.access, context)
        except LyreError:
            return None  # neither may it be read any more, nor need anybody be told why
        mask = covered.masks.get(message.table)
        return message if mask is None else mask.apply(message)
