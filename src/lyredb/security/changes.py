"""Changes of users and roles, one after the other, each decided on what was before it.

Rules such as "the last super user stays" look at several records, which no precondition
of one record can hold together. So every change also writes one revision record, under
the condition that it is still the one that the decision was made on; else the change is
decided anew. Whoever asks for the revision's log position learns of the last change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lyredb.errors import PreconditionFailed, RecordExists, WriteConflict
from lyredb.storage.body import pack_body
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import ROLE_SLOT
from lyredb.storage.mutation import Kind, Mutation, Precondition
from lyredb.storage.record import decode_header, last_seq_of
from lyredb.storage.sequencer import Sequencer
from lyredb.storage.snapshot import Snapshot

REVISION: Final = ":revision"
"""No role has this name: names have no colon."""
_KEY: Final = encode_key(REVISION)
_ATTEMPTS: Final = 100
"""Each lost attempt is a change that somebody else made; administrators are few."""
MAX_NAME_BYTES: Final = 255
"""Fits a key in every store and a line in every log."""

Plan = Callable[[Snapshot], Sequence[Mutation]]
"""Decides what to write by what there is; raises to refuse, returns nothing to do nothing."""


async def change(engine: Engine, sequencer: Sequencer, plan: Plan) -> int:
    """Make a change of users or roles and return the log position that contains it.

    Args:
        engine: Where they are read.
        sequencer: Where the change goes.
        plan: Called once or, after a change by somebody else, more often.

    Raises:
        WriteConflict: Others changed users and roles all the time.
        LyreError: The plan refused, or as every write.
    """
    for _ in range(_ATTEMPTS):
        with engine.snapshot() as snapshot:
            revision = snapshot.get(ROLE_SLOT, _KEY)
            wanted = plan(snapshot)
            position = snapshot.position
        if not wanted:
            return position
        try:
            applied = await sequencer.commit((*wanted, _revised(revision)))
        except (PreconditionFailed, RecordExists):
            continue  # the revision's condition is the only one
        return applied.position
    raise WriteConflict("users and roles are being changed by others; try again")


def changed_at(engine: Engine) -> int:
    """Return the log position at which users or roles last changed, 0 for never.

    It is that of the change's last entry: a tail that stands there has told all of it.
    """
    stored = engine.record(ROLE_SLOT, _KEY)
    return 0 if stored is None else last_seq_of(stored)


def is_name(name: str) -> bool:
    """Tell whether a user or role can have a name.

    Basic credentials end the name at the first colon (RFC 7617 §2), and logs have lines.
    """
    if not name or ":" in name or any(ord(letter) < 0x20 or letter == "\x7f" for letter in name):
        return False
    try:
        return len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _revised(revision: bytes | None) -> Mutation:
    if revision is None:
        condition = Precondition(must_be_absent=True)
    else:
        condition = Precondition(any_of=frozenset((decode_header(revision).version,)))
    return Mutation(ROLE_SLOT, _KEY, Kind.PUT, pack_body({}), precondition=condition)
