"""Who asks: the Authorization header, or the machine itself in ``lyredb dev``.

``lyredb dev`` lets loopback in without credentials. A web page in the developer's
browser also comes over loopback, so such a request counts only if no other site can
have caused it: its Host is a name of this machine (a page behind a rebound DNS name has
another one), and Origin and Sec-Fetch-Site do not speak of another site.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from ipaddress import ip_address
from typing import Final

from lyredb.errors import InvalidHeader, LoginRequired, LyreError, NotAuthorised
from lyredb.protocols.http.request import Request
from lyredb.security.authenticator import Account, Authenticator

_LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
_OWN_SITE: Final = frozenset(("", "same-origin", "none"))
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip")


class Authentication:
    """Decides who a request is from.

    Args:
        authenticator: Knows the users.
        authorize_local: Loopback without credentials is the super user ``local``.
    """

    def __init__(self, authenticator: Authenticator, *, authorize_local: bool) -> None:
        self._authenticator = authenticator
        self._authorize_local = authorize_local

    def quick(self, request: Request) -> Account | None:
        """Return the account, ``None`` when its password has to be checked first.

        Raises:
            InvalidHeader: The Authorization header cannot be read.
        """
        authorization = request.headers.get(b"authorization")
        if authorization is None:
            account = self._without_credentials(request)
        else:
            known = self._authenticator.recall(authorization)
            if known is None:
                return self._read(request, authorization)
            account = known
        request.account = account
        return account

    def _read(self, request: Request, authorization: bytes) -> Account | None:
        name, password = read_basic(authorization)
        account: Account | None
        if name or password:
            account = self._authenticator.cached(name, password)
            # Only the usual form: each further one would take the place of another user.
            if account is not None and authorization == write_basic(name, password):
                self._authenticator.note(authorization, name, password)
        else:  # empty ones count as none
            account = self._without_credentials(request)
        request.account = account
        return account

    async def authenticate(self, request: Request) -> Account:
        """Return the account and note it in the request.

        Raises:
            InvalidHeader: The Authorization header cannot be read.
            LoginFailed: Wrong name or password.
            Overloaded: Too many passwords are being checked.
        """
        account = self.quick(request)
        if account is None:
            name, password = read_basic(request.headers[b"authorization"])
            account = await self._authenticator.verify(name, password)
            request.account = account
        return account

    def _without_credentials(self, request: Request) -> Account:
        if not self._authorize_local or not is_loopback(request.peer):
            return self._authenticator.anonymous
        request.anonymous_because = foreign_because(request)
        if request.anonymous_because:
            return self._authenticator.anonymous
        return self._authenticator.local


def refusal(request: Request, error: NotAuthorised) -> LyreError:
    """What a lack of rights means: nobody has to log in (401), somebody may not (403)."""
    if request.account is not Authenticator.anonymous:
        return error
    because = request.anonymous_because
    return LoginRequired(f"Must login: {because}" if because else "Must login")


def read_basic(authorization: bytes) -> tuple[str, str]:
    """Return name and password of a Basic header (RFC 7617).

    Raises:
        InvalidHeader: Another scheme, or not base64 of UTF-8 with a colon.
    """
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        raise InvalidHeader("the Authorization header must be of the scheme Basic")
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


def is_loopback(address: str) -> bool:
    """Tell whether a peer's address is this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def foreign_because(request: Request) -> str:
    """Return why a loopback request may come from elsewhere, ``""`` when it cannot."""
    host = request.header(b"host").lower()
    if host_name(host) not in _LOCAL_NAMES:
        return "without a login only the hosts localhost, 127.0.0.1 and [::1] are answered"
    for name in _FORWARDED:
        if name in request.headers:
            return "a request that a proxy passed on needs a login"
    return other_site_because(request)


def other_site_because(request: Request) -> str:
    """Return why a page of another site may have caused the request, ``""`` if it cannot."""
    origin = request.header(b"origin").lower()
    if origin and origin.partition("://")[2] != request.header(b"host").lower():
        return "a page of another origin needs a login of its own"
    if request.header(b"sec-fetch-site").strip().lower() not in _OWN_SITE:
        return "a page of another site needs a login of its own"
    return ""


def host_name(host: str) -> str:
    """The host without its port, brackets of IPv6 kept."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
