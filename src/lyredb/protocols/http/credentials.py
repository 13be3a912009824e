"""How credentials stand in an Authorization header (RFC 7617, RFC 6750)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode

from lyredb.errors import InvalidHeader


def scheme_of(authorization: bytes) -> bytes:
    """Return the scheme of a header in lower case."""
    return authorization.partition(b" ")[0].lower()


def read_bearer(authorization: bytes) -> str:
    """Return the token of a Bearer header.

    Raises:
        InvalidHeader: Another scheme, or no token.
    """
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise InvalidHeader("the Authorization header must be of the scheme Basic or Bearer")
    text = token.strip().decode("latin-1")
    if not text.isascii() or not text:
        raise InvalidHeader("the Authorization header holds no token")
    return text


def read_basic(authorization: bytes) -> tuple[str, str]:
    """Return name and password of a Basic header.

    Raises:
        InvalidHeader: Another scheme, or not base64 of UTF-8 with a colon.
    """
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        raise InvalidHeader("the Authorization header must be of the scheme Basic or Bearer")
    try:
        pair = b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidHeader("the Authorization header is not base64 of UTF-8") from None
    name, colon, password = pair.partition(":")
    if not colon:
        raise InvalidHeader("the Authorization header holds no name and password")
    return name, password


def write_basic(name: str, password: str) -> bytes:
    """Return the header that says this name and password, in the form that most send."""
    return b"Basic " + b64encode(f"{name}:{password}".encode())
