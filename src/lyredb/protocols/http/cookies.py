"""The session cookie: how it is written, and found in a request (RFC 6265)."""

from __future__ import annotations

from typing import Final

NAME: Final = "lyredb-session"
SECURE_NAME: Final = "__Host-lyredb-session"
"""Over TLS. The prefix makes browsers take it only from this very host, with Secure and
Path=/: no other host of the domain and no plain page can plant one (RFC 6265bis §4.1.3.2)."""
_NAMES: Final = {False: NAME, True: SECURE_NAME}


def read_cookie(header: bytes, *, is_secure: bool) -> str:
    """Return the session's secret from a Cookie header, ``""`` when it holds none.

    Args:
        header: Its value; several headers joined by commas are not, cookies have none.
        is_secure: Whether the cookie of TLS is meant; the other one does not count then.
    """
    name = _NAMES[is_secure]
    for pair in header.decode("latin-1").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value.strip('"')
    return ""


def write_cookie(secret: str, *, max_age_s: int, is_secure: bool) -> bytes:
    """Return the header line that sets the cookie.

    HttpOnly: scripts need not know it. SameSite=Lax: pages of other sites cannot have
    it sent, but for links to us, which only read.
    """
    secure = "; Secure" if is_secure else ""
    return (
        f"set-cookie: {_NAMES[is_secure]}={secret}; Path=/; Max-Age={max_age_s}; HttpOnly"
        f"; SameSite=Lax{secure}\r\n"
    ).encode("ascii")


def end_cookie(*, is_secure: bool) -> bytes:
    """Return the header line that removes the cookie."""
    return write_cookie("", max_age_s=0, is_secure=is_secure)
