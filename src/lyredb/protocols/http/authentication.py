"""Who asks: certificate, Authorization header, cookie, or the machine itself in ``dev``.

In this order; the first that says something decides, and a wrong one is refused, not
passed over. Only a cookie that is void counts as none: browsers keep them.

``lyredb dev`` lets loopback in without credentials. A web page in the developer's
browser also comes over loopback, so such a request counts only if no other site can
have caused it: its Host is a name of this machine (a page behind a rebound DNS name has
another one), and Origin and Sec-Fetch-Site do not speak of another site.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from lyredb.errors import LoginFailed, LoginRequired, LyreError, NotAuthorised
from lyredb.plugins.context import Context
from lyredb.plugins.scope import HttpMounts
from lyredb.protocols.http.cookies import read_cookie
from lyredb.protocols.http.credentials import read_basic, read_bearer, scheme_of, write_basic
from lyredb.protocols.http.origins import Origins
from lyredb.protocols.http.request import Request
from lyredb.security.audit import Strategy, note_login
from lyredb.security.authenticator import Account, Authenticator
from lyredb.security.elsewhere import watch_end
from lyredb.security.tokens import Tokens
from lyredb.security.web_sessions import WebSessions

_LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip")

_OWN_PAGES: Final = Origins()

NO_DIALOG: Final = b'www-authenticate: Bearer realm="LyreDB"\r\n'
"""For pages that log in by themselves: a Basic challenge would open the browser's dialog."""
BAD_TOKEN: Final = b'www-authenticate: Bearer realm="LyreDB", error="invalid_token"\r\n'


class Authentication:
    """Decides who a request is from; one for all that lives on the HTTP port.

    Attributes:
        authenticator: Knows the users.
        sessions: Cookies of browsers; ``None``: there are none.
        tokens: Bearer tokens; ``None``: there are none.
        origins: Which pages may use logins that a browser keeps.

    Args:
        authenticator: See above.
        authorize_local: Loopback without credentials is the super user ``local``.
        sessions: See above.
        tokens: See above.
        origins: See above; without it the port's own pages only.
        secure_cookies: Cookies are for TLS also where we see none: a proxy ends it.
        identify: Gives a context its decision class (`Access.identify`); without it that is
            the role.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        authorize_local: bool,
        sessions: WebSessions | None = None,
        tokens: Tokens | None = None,
        origins: Origins | None = None,
        secure_cookies: bool = False,
        identify: Callable[[Context], Context] | None = None,
    ) -> None:
        self.authenticator = authenticator
        self.sessions = sessions
        self.tokens = tokens
        self.origins = origins or Origins()
        self._authorize_local = authorize_local
        self._secure_cookies = secure_cookies
        self._identify = identify

    def quick(self, request: Request) -> Account | None:
        """Return the account, ``None`` when its password has to be checked first.

        Raises:
            InvalidHeader: The Authorization header cannot be read.
            LoginFailed: The certificate or the token is nobody's.
        """
        request.identify = self._identify
        certificate = request.certificate_name
        if certificate:
            account = self._of_certificate(request, certificate)
        else:
            authorization = request.headers.get(b"authorization")
            if authorization is None:
                account = self._without_header(request)
            else:
                known = self.authenticator.recall(authorization, request.peer)
                if known is None:
                    return self._read(request, authorization)
                request.login = "basic"
                account = known
        request.account = account
        return account

    async def authenticate(self, request: Request) -> Account:
        """Return the account and note it in the request.

        Raises:
            InvalidHeader: The Authorization header cannot be read.
            LoginFailed: Wrong name or password, certificate or token.
            TooManyAttempts: There were too many wrong ones.
            Overloaded: Too many passwords are being checked.
        """
        account = self.quick(request)
        if account is None:
            name, password = read_basic(request.headers[b"authorization"])
            account = await self.verify(request, name, password, "basic")
            request.account = account
        return account

    async def verify(
        self, request: Request, name: str, password: str, strategy: Strategy
    ) -> Account:
        """Check a password for a request, and write down what came of it.

        Raises:
            LoginFailed, TooManyAttempts, Overloaded: As `authenticate`.
        """
        try:
            account = await self.authenticator.verify(name, password, address=request.peer)
        except LoginFailed:
            _note(request, name, strategy, accepted=False)
            raise
        _note(request, name, strategy, accepted=True)
        return account

    def admit_change(self, request: Request) -> None:
        """Refuse a change that a page of another site had a browser make (CSRF).

        Such pages cannot read our answers, but without this they could write.

        Raises:
            NotAuthorised: It comes from there, or may.
        """
        if request.login != "bearer":
            self.origins.require_own(request, proof=request.login == "cookie")

    def admit_stream(self, request: Request) -> None:
        """Refuse events to a page of another site.

        An EventSource says nothing about its page when that is our own, so nothing said is
        right here; SameSite keeps the cookie from others.

        Raises:
            NotAuthorised: It comes from another site.
        """
        if request.login == "cookie":
            self.origins.require_own(request, proof=False)

    def admit_socket(self, request: Request) -> None:
        """Refuse a WebSocket to a page of another site, whoever is logged in there.

        Raises:
            NotAuthorised: It comes from there, or may.
        """
        self.origins.require_own(request, proof=request.login == "cookie")

    def watch(self, request: Request, end: Callable[[Exception], None]) -> Callable[[], None]:
        """Have what lives longer than its request ended when the login is void.

        Args:
            request: Authenticated.
            end: Called with the reason.

        Returns:
            What ends the watch; a second call does nothing.
        """
        assert request.account is not None, "authenticated first"

        def tell(reason: str) -> None:
            end(LoginRequired(f"Must login again: {reason}"))

        revoked = self.authenticator.revocations.watch(request.account.name, tell)
        ended = watch_end(request.account, tell)

        def forget() -> None:
            revoked()
            ended()

        return forget

    def cookie_of(self, request: Request) -> str:
        """Return the secret in a request's session cookie, ``""`` without one."""
        header = request.headers.get(b"cookie")
        if header is None or self.sessions is None:
            return ""
        return read_cookie(header, is_secure=self.is_secure(request))

    def is_secure(self, request: Request) -> bool:
        """Tell whether cookies of a request's connection are for TLS only."""
        return self._secure_cookies or request.is_secure

    def challenge(self, request: Request) -> bytes:
        """Return the header line that a 401 needs, ``b""`` for the usual one (Basic)."""
        if request.login == "bearer":
            return BAD_TOKEN
        return NO_DIALOG if self.cookie_of(request) else b""

    def _of_certificate(self, request: Request, name: str) -> Account:
        request.login = "certificate"
        account = self.authenticator.by_name(name)
        if account is None:
            _note(request, name, "certificate", accepted=False)
            raise LoginFailed("Login failed: the certificate's name is no active user")
        return account

    def _read(self, request: Request, authorization: bytes) -> Account | None:
        if self.tokens is not None and scheme_of(authorization) == b"bearer":
            return self._of_token(request, self.tokens, read_bearer(authorization))
        name, password = read_basic(authorization)
        account: Account | None
        if name or password:
            request.login = "basic"
            account = self.authenticator.cached(name, password, request.peer)
            # Only the usual form: each further one would take the place of another user.
            if account is not None and authorization == write_basic(name, password):
                self.authenticator.note(authorization, name, password)
        else:  # empty ones count as none
            account = self._without_header(request)
        request.account = account
        return account

    def _of_token(self, request: Request, tokens: Tokens, token: str) -> Account:
        request.login = "bearer"
        try:
            account = self._verified(tokens, token)
        except LoginFailed:
            _note(request, "", "bearer", accepted=False)
            raise
        request.account = account
        return account

    def _verified(self, tokens: Tokens, token: str) -> Account:
        """Our own, or that of an issuer whom the settings name."""
        try:
            return tokens.verify(token)
        except LoginFailed:
            account = self.authenticator.of_token(token)
            if account is None:
                raise
            return account

    def _without_header(self, request: Request) -> Account:
        secret = self.cookie_of(request)
        if secret and self.sessions is not None:
            account = self.sessions.find(secret)
            if account is not None:
                request.login = "cookie"
                return account
        return self._without_credentials(request)

    def _without_credentials(self, request: Request) -> Account:
        if not self._authorize_local or not is_loopback(request.peer):
            return self.authenticator.anonymous
        request.anonymous_because = _elsewhere_because(request, self.origins)
        if request.anonymous_because:
            return self.authenticator.anonymous
        return self.authenticator.local


def authentication_of(http: HttpMounts) -> Authentication:
    """Return who decides logins on the HTTP port that a plugin's handlers are mounted on."""
    found = http.authentication
    assert isinstance(found, Authentication), "plugins live on a port with users"
    return found


def foreign_because(request: Request) -> str:
    """Return why a loopback request may come from elsewhere, ``""`` when it cannot."""
    return _elsewhere_because(request, _OWN_PAGES)


def refusal(request: Request, error: NotAuthorised) -> LyreError:
    """What a lack of rights means: nobody has to log in (401), somebody may not (403)."""
    if request.account is not Authenticator.anonymous:
        return error
    because = request.anonymous_because
    return LoginRequired(f"Must login: {because}" if because else "Must login")


def is_loopback(address: str) -> bool:
    """Tell whether a peer's address is this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """The host without its port, brackets of IPv6 kept."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _elsewhere_because(request: Request, origins: Origins) -> str:
    host = request.header(b"host").lower()
    if host_name(host) not in _LOCAL_NAMES:
        return "without a login only the hosts localhost, 127.0.0.1 and [::1] are answered"
    for name in _FORWARDED:
        if name in request.headers:
            return "a request that a proxy passed on needs a login"
    return origins.foreign_because(request)


def _note(request: Request, name: str, strategy: Strategy, *, accepted: bool) -> None:
    note_login(
        name,
        accepted=accepted,
        strategy=strategy,
        address=request.peer,
        protocol="websocket" if request.is_websocket else "http",
        method=request.method,
        path=request.path,
    )
