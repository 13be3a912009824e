"""The body that a record has after a patch, or a put of who may not change all of it."""

from __future__ import annotations

from lyredb.errors import InvalidRecord, NotAuthorised
from lyredb.storage.layout import TableLayout
from lyredb.storage.merge import merge, replace_some
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.overlay import State
from lyredb.storage.record import EMPTY_BODY, RecordHeader


def replaced_body(
    layout: TableLayout, mutation: Mutation, state: State, header: RecordHeader | None
) -> bytes:
    """Return the body of a put of which some attributes are not the sender's to change.

    Raises:
        NotAuthorised: Bytes are on one side, which have no attributes.
        InvalidRecord: It cannot be made.
    """
    assert mutation.may_change is not None
    if mutation.opaque or (header is not None and header.opaque):
        raise NotAuthorised("who may change only some attributes cannot replace bytes, or by bytes")
    present = None
    if header is not None and state.image is not None:
        present = state.image[header.body_offset :]
    return replace_some(layout, mutation.body, mutation.may_change, present)


def patched_body(
    layout: TableLayout, mutation: Mutation, state: State, header: RecordHeader | None
) -> bytes:
    """Return the body of the record that a patch makes.

    Raises:
        InvalidRecord: It cannot be made.
    """
    if mutation.opaque or (header is not None and header.opaque):
        raise InvalidRecord("a record that is no map of attributes cannot be patched")
    body = EMPTY_BODY
    if header is not None and state.image is not None:
        body = state.image[header.body_offset :]
    return merge(layout, body, mutation.body, mutation.operations)


def packed_operations(mutation: Mutation) -> bytes:
    """Return a patch as its entry keeps it: an array of what it sets and what it adds."""
    if mutation.kind is not Kind.PATCH:
        return b""
    return b"\x92" + (mutation.body or EMPTY_BODY) + (mutation.operations or EMPTY_BODY)
