"""One attribute of a record set to content that comes in parts."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lyredb.errors import LyreError, StorageFailed
from lyredb.plugins.context import Context
from lyredb.resources.blobs import BlobStore
from lyredb.resources.requests import Write, Written
from lyredb.resources.target import Target
from lyredb.resources.writing import Writing
from lyredb.storage.blob import PackedBlob
from lyredb.storage.mutation import Precondition

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine


class BlobUploads:
    """The uploads of one database.

    Args:
        engine: Of it.
        writing: Decides.
        store: Where content goes.
        write: `Database.write`.
    """

    def __init__(
        self,
        engine: Engine,
        writing: Writing,
        store: BlobStore,
        write: Callable[[Write, Context], Awaitable[Written]],
    ) -> None:
        self._engine = engine
        self._writing = writing
        self._store = store
        self._write = write

    @property
    def max_bytes(self) -> int:
        """The largest content that is taken."""
        return self._store.max_bytes

    def admit(self, target: Target, context: Context) -> int:
        """Refuse what may not be before its content is read; return the record's version.

        That is 0 where there is none: who may change it is told so anyway.

        Raises:
            NotAuthorised: The principal may not change the attribute.
        """
        self._writing.admit_attribute(target, context)
        stored = self._engine.record(target.table.slot, target.key)
        return 0 if stored is None else int.from_bytes(stored[:8], "big")

    async def put(
        self,
        target: Target,
        parts: AsyncIterable[bytes],
        content_type: str,
        precondition: Precondition,
        context: Context,
    ) -> Written:
        """Set the attribute of a record that is there; return once both are on disk.

        Args:
            target: Of an attribute that is a blob.
            parts: The content.
            content_type: As it is kept.
            precondition: Checked at commit.
            context: Who does it.

        Raises:
            RecordMissing, PreconditionFailed, NotAuthorised: Decided at commit; nothing of it
                is left, as after the following.
            RecordTooLarge: The content is larger than `max_bytes`.
            DiskFull, StorageFailed: It could not be written; after the latter it may be there.
        """
        value = await self._store.save(parts, content_type)
        made = (value.id,) if isinstance(value, PackedBlob) and value.id else ()
        write = Write(
            replace(target, kind="record", attribute=""),
            "patch",
            value={target.attribute: value},
            precondition=replace(precondition, must_exist=True),
            blobs=made,
        )
        try:
            return await self._write(write, context)
        except LyreError as error:
            if not isinstance(error, StorageFailed):
                self._store.discard(made)
            raise
