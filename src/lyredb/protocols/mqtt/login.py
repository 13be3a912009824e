"""Who a client is, by its CONNECT and by what its listener knows."""

from __future__ import annotations

from lyredb.errors import LoginFailed
from lyredb.protocols.mqtt.packets import Connect
from lyredb.protocols.mqtt.reasons import Reason, Violation
from lyredb.protocols.mqtt.service import Service
from lyredb.security.audit import note_login
from lyredb.security.authenticator import Account


def known_account(
    connect: Connect, service: Service, listener: Account | None, host: str
) -> Account | None:
    """The account, when that can be said without waiting; None asks for `verify`.

    Args:
        connect: Its credentials win over everything else; empty ones are none.
        service: Its authenticator remembers passwords that were right.
        listener: Whom the listener knows the peer to be: the user of an upgrade, the
            super user over loopback where that is allowed. None when it does not know.
        host: The peer's, which may have to wait.

    Raises:
        Violation: 0x87, there are no credentials and there have to be some.
    """
    if connect.username or connect.password:
        name, password = connect.username or "", connect.password or b""
        return service.authenticator.cached(name, password, host, connect.client_id)
    if listener is not None:
        return listener
    if service.limits.require_authentication:
        raise Violation(
            Reason.NOT_AUTHORIZED, "User name and password are needed", version=connect.version
        )
    return service.authenticator.anonymous


async def verify(connect: Connect, service: Service, host: str) -> Account:
    """Check the password, which takes about 0.1 s of another thread.

    Args:
        connect: Has credentials.
        service: Its authenticator decides.
        host: The peer's, by which failures are counted.

    Raises:
        LoginFailed: Wrong, or the user is inactive.
        TooManyAttempts: Too many were wrong for this host or name.
        Overloaded: Too many passwords are being checked.
    """
    name = connect.username or ""
    try:
        account = await service.authenticator.verify(
            name, connect.password or b"", address=host, client_id=connect.client_id
        )
    except LoginFailed:
        _note(name, host, accepted=False)
        raise
    _note(account.name, host, accepted=True)
    return account


def _note(name: str, host: str, *, accepted: bool) -> None:
    note_login(name, accepted=accepted, strategy="password", address=host, protocol="mqtt")
