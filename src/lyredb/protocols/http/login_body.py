"""The small bodies of ``$session`` and ``$token``: fields of JSON or of a form."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from lyredb.errors import InvalidBody, LoginFailed, LoginRequired, UnsupportedContentType
from lyredb.formats import format_for_content_type
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request
from lyredb.security.audit import Strategy
from lyredb.security.authenticator import Account

MAX_BYTES: Final = 16_384
"""A name, a password of 4 KiB in the widest escapes, or a token."""
_FORM: Final = "application/x-www-form-urlencoded"
NO_STORE: Final = b"cache-control: no-store\r\n"


async def read_fields(request: Request) -> dict[str, str]:
    """Return the fields of a body; none of an empty one.

    Raises:
        InvalidBody: It is no map of names to text.
        UnsupportedContentType: It is in a format that logins are not read from.
        BodyTooLarge: It has more than `MAX_BYTES`.
    """
    body = await request.body(MAX_BYTES)
    if not body:
        return {}
    content_type = request.header(b"content-type")
    if content_type.partition(";")[0].strip().lower() == _FORM:
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=10))
        except (UnicodeDecodeError, ValueError) as error:
            raise InvalidBody("the form cannot be read") from error
    chosen = format_for_content_type(content_type)
    if chosen is None:
        kind = UnsupportedContentType if content_type else InvalidBody
        raise kind("the body must be JSON or a form, and Content-Type say which")
    fields = chosen.decode(body)
    if not isinstance(fields, dict):
        raise InvalidBody("the body must be a map")
    for name, value in fields.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidBody("every field must be text")
    return fields


async def log_in(
    request: Request, authentication: Authentication, fields: dict[str, str], strategy: Strategy
) -> Account:
    """Return who logs in: by name and password in the body, or by credentials of the request.

    What a login gave, a token or a cookie, is no login: it could be kept alive for ever by
    whoever has seen it, and a page could make a token of the cookie that it cannot read.

    Raises:
        InvalidBody: One of the two is missing.
        LoginFailed: Wrong, or what another login gave.
        LoginRequired: Nobody says who it is.
        NotAuthorised: A page of another site has it sent.
        TooManyAttempts: There were too many wrong ones.
    """
    # A foreign page must not log a browser in either: as whom it likes.
    authentication.origins.require_own(request, proof=False)
    if not fields:
        account = await authentication.authenticate(request)
        if request.login in ("bearer", "cookie"):
            raise LoginFailed("a login needs username and password, not what another login gave")
        authentication.admit_change(request)
        if account in (authentication.authenticator.anonymous, authentication.authenticator.local):
            raise LoginRequired("Must login: send username and password")
        return _lasting(account)
    name, password = fields.get("username"), fields.get("password")
    if name is None or password is None:
        raise InvalidBody("the body must have username and password")
    account = await authentication.verify(request, name, password, strategy)
    request.account = account
    return _lasting(account)


def _lasting(account: Account) -> Account:
    """See to it that a login which may outlive this request is no issuer's token."""
    if account.is_issued:
        raise LoginFailed("a login needs a password, not a token of an issuer")
    return account
