"""Web sessions as they are stored: rows ``web/<hash of the secret>`` of ``system.session``.

The body is ``{user, version, created, expires}``: whom the session is of, the version of
the user's record at the login, and two times in milliseconds since 1970.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from lyredb.storage.body import load_body, pack_body
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import DeleteReason, Kind, Mutation
from lyredb.storage.record import body_offset_of
from lyredb.storage.snapshot import Snapshot

_PREFIX: Final = "web/"
_FIRST: Final = encode_key(_PREFIX)
# 0xFF cannot stand in UTF-8, so this is behind every key that begins so.
_STOP: Final = _FIRST + b"\xff"
MAX_REMOVED: Final = 10_000
"""Rows that one transaction removes. Those that are left are void and go with their time."""


@dataclass(frozen=True, slots=True)
class WebSession:
    """One login of a browser.

    Attributes:
        user: The user's name.
        version: Of the user's record at the login; void with another one.
        created_ms: When, since 1970.
        expires_ms: The end, since 1970.
    """

    user: str
    version: int
    created_ms: int
    expires_ms: int


def key_of(secret: str) -> bytes:
    """Return the key of a session: who reads the store cannot log in with what it finds."""
    return encode_key(_PREFIX + hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest())


def session_in(snapshot: Snapshot, key: bytes) -> WebSession | None:
    """Return the session of a key, ``None`` when there is none or it has ended."""
    stored = snapshot.get(SESSION_SLOT, key)
    return None if stored is None else _unpack(stored)


def creation_of(key: bytes, session: WebSession) -> Mutation:
    """Return what writes a session."""
    body = {
        "user": session.user,
        "version": session.version,
        "created": session.created_ms,
        "expires": session.expires_ms,
    }
    return Mutation(SESSION_SLOT, key, Kind.PUT, pack_body(body), expires_ms=session.expires_ms)


def removal_of(key: bytes) -> Mutation:
    """Return what ends a session."""
    return Mutation(SESSION_SLOT, key, Kind.DELETE)


def removals_of(snapshot: Snapshot, user: str) -> tuple[Mutation, ...]:
    """Return what ends the sessions of a user. O(web sessions)."""
    found = (removal_of(key) for key, session in _all(snapshot) if session.user == user)
    return tuple(islice(found, MAX_REMOVED))


def all_removals(snapshot: Snapshot) -> tuple[Mutation, ...]:
    """Return what ends the sessions of everybody, `MAX_REMOVED` of them at a time."""
    return tuple(removal_of(key) for key, _ in islice(_all(snapshot), MAX_REMOVED))


def expired_in(snapshot: Snapshot, now_ms: int) -> tuple[Mutation, ...]:
    """Return what removes the rows of sessions whose time is over. O(web sessions)."""
    ended = (
        Mutation(SESSION_SLOT, key, Kind.DELETE, reason=DeleteReason.EXPIRED)
        for key, session in _all(snapshot)
        if session.expires_ms <= now_ms
    )
    return tuple(islice(ended, MAX_REMOVED))


def _all(snapshot: Snapshot) -> Iterator[tuple[bytes, WebSession]]:
    for key, stored in snapshot.scan_stored(SESSION_SLOT, _FIRST, _STOP):
        yield key, _unpack(stored)


def _unpack(stored: bytes) -> WebSession:
    body = load_body(stored[body_offset_of(stored) :])
    version, created, expires = (body.get(name) for name in ("version", "created", "expires"))
    return WebSession(
        user=str(body.get("user", "")),
        version=version if isinstance(version, int) else 0,
        created_ms=created if isinstance(created, int) else 0,
        expires_ms=expires if isinstance(expires, int) else 0,
    )
