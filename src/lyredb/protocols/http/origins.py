"""Which pages may have a browser use the login that it keeps for us.

A browser sends what it keeps (a cookie, Basic credentials, a client certificate) and
comes over loopback for whichever page asks it to. So a request that changes something or
opens a stream counts only if no foreign page can have caused it. Bearer tokens are no
such login: a page has to know one to send it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lyredb.errors import NotAuthorised, SettingError
from lyredb.protocols.http.request import Request

SETTING: Final = "http.allowedOrigins"
_ORIGIN: Final = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?", re.ASCII)
_OWN_SITE: Final = frozenset(("same-origin", "none"))
"""``none``: the person did it, by the address bar or a bookmark."""
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Origins:
    """Tells our own and allowed pages from others.

    Attributes:
        allowed: As given.

    Args:
        allowed: Origins such as ``https://app.example.com``, besides our own.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.allowed = frozenset(allowed)

    @classmethod
    def of(cls, text: str) -> Origins:
        """Read the setting: origins, separated by commas.

        Raises:
            SettingError: One is no origin.
        """
        return cls(read_origins(text, SETTING))

    def foreign_because(self, request: Request) -> str:
        """Return why a page of another site may have caused a request, ``""`` if it cannot."""
        headers = request.headers
        if b"origin" not in headers and b"sec-fetch-site" not in headers:
            return ""  # no browser, as most who write
        origin = request.header(b"origin").lower()
        if origin in self.allowed:
            return ""
        if origin and not is_own(origin, request):
            return "a page of another origin needs a login of its own"
        site = request.header(b"sec-fetch-site").strip().lower()
        if site and site not in _OWN_SITE:
            return "a page of another site needs a login of its own"
        return ""

    def require_own(self, request: Request, *, proof: bool) -> None:
        """Refuse what a foreign page may have caused.

        Args:
            request: Any.
            proof: Nothing said is too little: every browser says where a change or a
                WebSocket comes from, so who does not is none, and has no use for a cookie.

        Raises:
            NotAuthorised: With a sentence that says what to do.
        """
        because = self.foreign_because(request)
        if because:
            raise NotAuthorised(because)
        if proof and not (request.header(b"origin") or request.header(b"sec-fetch-site")):
            raise NotAuthorised("with a session cookie this needs an Origin header")


def read_origins(text: str, setting: str) -> list[str]:
    """Return the origins in a setting, in lower case.

    Args:
        text: Separated by commas.
        setting: Its name, for the error.

    Raises:
        SettingError: One is no origin.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if not _ORIGIN.fullmatch(name):
            raise SettingError(setting, f"got {name!r}", allowed="https://host, http://host:port")
    return names


def is_own(origin: str, request: Request) -> bool:
    """Tell whether an origin (lower case) is the address that a request was sent to.

    The scheme does not count: behind a proxy that ends TLS we do not know it.
    """
    scheme, _, place = origin.partition("://")
    host = request.header(b"host").lower()
    default = _DEFAULT_PORTS.get(scheme)
    if not place or default is None:  # `null`, and what is no page
        return False
    return place.removesuffix(default) == host.removesuffix(default)
