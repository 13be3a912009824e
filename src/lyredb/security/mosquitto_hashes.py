"""Password hashes of mosquitto's password files, checked as they are.

``$6$<salt>$<digest>`` is one SHA-512 of password and salt, ``$7$<iterations>$<salt>$<digest>``
is PBKDF2 with HMAC-SHA-512; salt and digest are in base64. Both are far cheaper to guess than
argon2id, so whoever logs in with one gets a hash of ours in its place. Later versions of
mosquitto write argon2id in the PHC string format, which needs nothing here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

MAX_ITERATIONS: Final = 10_000_000
"""About 5 s of one thread: more in a file would be somebody's wish to stop the server."""
_DIGEST_BYTES: Final = 64


def is_mosquitto_hash(stored: str) -> bool:
    """Tell whether a hash has one of the two forms."""
    return _parts(stored) is not None


def matches_mosquitto_hash(stored: str, password: bytes) -> bool:
    """Tell whether a hash is that of a password. Takes as long as its iterations say."""
    parts = _parts(stored)
    if parts is None:
        return False
    iterations, salt, digest = parts
    if iterations:
        found = hashlib.pbkdf2_hmac("sha512", password, salt, iterations)
    else:
        found = hashlib.sha512(password + salt).digest()
    return hmac.compare_digest(found, digest)


def _parts(stored: str) -> tuple[int, bytes, bytes] | None:
    """Return iterations (0: none), salt and digest."""
    match stored.split("$"):
        case ["", "6", salt, digest]:
            iterations = 0
        case ["", "7", count, salt, digest] if count.isascii() and count.isdigit():
            iterations = int(count[:12])
            if not 0 < iterations <= MAX_ITERATIONS:
                return None
        case _:
            return None
    try:
        pair = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        return None
    return (iterations, *pair) if pair[0] and len(pair[1]) == _DIGEST_BYTES else None
