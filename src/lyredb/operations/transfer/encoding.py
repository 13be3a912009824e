"""Records to mutations, in the process that reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lyredb.errors import InvalidKey, RecordTooLarge
from lyredb.operations.transfer.binary import Binary
from lyredb.operations.transfer.spec import ImportSpec
from lyredb.storage.keys import KeyValue, encode_full_key, is_short_form
from lyredb.storage.mutation import Kind, Mutation, Precondition
from lyredb.tables.stored import StoredTable

_NEW: Final = Precondition(must_be_absent=True)


class RecordEncoder:
    """Makes the mutation of a record.

    Args:
        table: Where it goes.
        spec: How.
        max_record_bytes: A record that has more is refused here, so that its batch is not.
    """

    def __init__(self, table: StoredTable, spec: ImportSpec, max_record_bytes: int) -> None:
        self._table = table
        self._key = spec.key or table.schema.primary_key
        self._renames = bool(spec.key) and spec.key != table.schema.primary_key
        self._mode = spec.mode
        self._user = spec.user
        self._max_record_bytes = max_record_bytes
        self._binary = Binary(table.schema)
        self._has_binary = self._binary.is_needed

    def mutation(self, record: Mapping[str, object]) -> Mutation:
        """Return it; with an empty key when the next integer is to be its key.

        Raises:
            InvalidKey, InvalidRecord: The table cannot have it.
            RecordTooLarge: It has too many bytes.
        """
        if self._has_binary:
            record = self._binary.read(record)
        given = record.get(self._key)
        if self._renames:
            record = {name: value for name, value in record.items() if name != self._key}
        key, full_id = self._keys(given)
        if self._mode == "patch":
            body, operations = self._table.encode_changes(record)
            made = Mutation(
                self._table.slot,
                key,
                Kind.PATCH,
                body,
                operations,
                full_id=full_id,
                user=self._user,
            )
        else:
            # The key is not part of the body; while it is generated any will do.
            body = self._table.encode(record, "")
            precondition = _NEW if self._mode == "insert" or not key else None
            made = Mutation(
                self._table.slot,
                key,
                Kind.PUT,
                body,
                precondition=precondition,
                full_id=full_id,
                user=self._user,
            )
        if len(body) > self._max_record_bytes:
            raise RecordTooLarge(f"a record may have {self._max_record_bytes} bytes")
        return made

    def _keys(self, given: object) -> tuple[bytes, bytes]:
        if given is None or given == "":
            if self._mode == "patch":
                raise InvalidKey(f"{self._key} is missing: a patch needs to know of which record")
            if self._table.generates_integers:
                return b"", b""
            return self._encoded(self._table.generate_key(_no_integer))
        return self._encoded(self._table.check_key(given))

    def _encoded(self, key: KeyValue) -> tuple[bytes, bytes]:
        encoded = self._table.encode_key(key)
        return encoded, encode_full_key(key) if is_short_form(encoded) else b""


def _no_integer() -> int:
    raise AssertionError("asked for UUIDs only")
