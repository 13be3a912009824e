"""What must hold of a mutation, and for its record, before it is done."""

from __future__ import annotations

from typing import Final

from lyredb.errors import (
    InvalidKey,
    InvalidRecord,
    PreconditionFailed,
    RecordExists,
    RecordMissing,
    WriteConflict,
)
from lyredb.storage.clock import version_ms
from lyredb.storage.keys import LONGEST_NATURAL, SHORT_FORM_BYTES
from lyredb.storage.mutation import Kind, Mutation, Precondition
from lyredb.storage.record import RecordHeader

LONGEST_FULL_ID: Final = 0xFFFF
LONGEST_USER: Final = 0xFFFF


def check_key(mutation: Mutation) -> None:
    """Check what stands in an entry beside the record: key, full id and user.

    Raises:
        InvalidKey, InvalidRecord: It cannot stand there.
    """
    size = len(mutation.key)
    if size == SHORT_FORM_BYTES:
        if not LONGEST_NATURAL < len(mutation.full_id) <= LONGEST_FULL_ID:
            raise InvalidKey(f"a key may have {LONGEST_FULL_ID} bytes")
    elif not size and mutation.kind is Kind.MESSAGE:
        pass  # to the root topic of a table, which has no record
    elif not 0 < size <= LONGEST_NATURAL or mutation.full_id:
        raise InvalidKey(f"a stored key has 1 to {LONGEST_NATURAL} bytes, got {size}")
    if len(mutation.user) * 4 > LONGEST_USER:
        raise InvalidRecord("the name of the user is too long")


def check_read(header: RecordHeader | None, wanted: Precondition) -> None:
    """Compare what was read with the record before the transaction.

    Raises:
        WriteConflict: Somebody else has written it since.
    """
    present = 0 if header is None else header.version
    if wanted.read_version is not None and wanted.read_version != present:
        raise WriteConflict("a record that was read has been changed by others meanwhile")


def check_conditions(header: RecordHeader | None, wanted: Precondition) -> None:
    """Check the conditions of a request on the record as its transaction has it so far.

    Raises:
        PreconditionFailed, RecordMissing, RecordExists: One does not hold.
    """
    if header is None:
        if wanted.must_exist or wanted.any_of is not None:
            raise RecordMissing("the record does not exist")
        return
    if wanted.must_be_absent:
        raise RecordExists("a record with this key exists already")
    if wanted.any_of is not None and header.version not in wanted.any_of:
        raise PreconditionFailed("the record has another version")
    if wanted.none_of is not None and header.version in wanted.none_of:
        raise PreconditionFailed("the record has this version")
    since = wanted.unmodified_since_ms
    if since is not None and version_ms(header.version) > since:
        raise PreconditionFailed("the record was modified since")
