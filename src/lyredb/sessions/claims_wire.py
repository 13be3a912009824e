"""What workers and the directory of claims tell each other: MessagePack arrays.

Both ends are of one installation, so there is no version in it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lyredb.sessions.claims import Claim, Refusal
from lyredb.sessions.wills import Will

CLAIM: Final = "claims/claim"
"""A call: `Request` → `Answer`, as soon as the identifier is free or refused."""
RELEASE: Final = "claims/release"
"""A call: `Release` → nothing, once the directory knows of it."""
ENDED: Final = "claims/ended"
"""A notice to the directory: `Ended`."""
OPENED: Final = "claims/opened"
"""A notice to the directory: `Named`, after an `Answer` that resumes."""
WILL: Final = "claims/will"
"""A notice to the directory: `NewWill`."""
ANNOUNCE: Final = "claims/announce"
"""A notice to the directory: a list of `Claim`."""
REVOKE: Final = "claims/revoke"
"""A notice to a worker: `Named`."""


class Request(msgspec.Struct, frozen=True, array_like=True):
    """As `lyredb.sessions.claims.Claimant`."""

    client_id: str
    user: str
    will: Will | None = None
    clean_start: bool = False


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The epoch of the claim, or why there is none; whether wills wait for `OPENED`."""

    epoch: int
    refusal: Refusal | None = None
    resumes: bool = False


class Named(msgspec.Struct, frozen=True, array_like=True):
    """A granted claim."""

    client_id: str
    epoch: int


class Release(msgspec.Struct, frozen=True, array_like=True):
    """A claim that is given back; its will is settled, or due after some milliseconds.

    Or its client was never let in: then it has taken no will back.
    """

    client_id: str
    epoch: int
    delay_ms: int = 0
    was_let_in: bool = True


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """A session that was removed while its client was away."""

    client_id: str


class NewWill(msgspec.Struct, frozen=True, array_like=True):
    """What is published for a claim from now on, when its worker is lost."""

    client_id: str
    epoch: int
    will: Will | None


encode: Final = msgspec.msgpack.Encoder().encode
requests: Final = msgspec.msgpack.Decoder(Request)
answers: Final = msgspec.msgpack.Decoder(Answer)
named: Final = msgspec.msgpack.Decoder(Named)
releases: Final = msgspec.msgpack.Decoder(Release)
ended: Final = msgspec.msgpack.Decoder(Ended)
new_wills: Final = msgspec.msgpack.Decoder(NewWill)
announced: Final = msgspec.msgpack.Decoder(list[Claim])
