"""Logins that others decide, by the settings; and the key set of an issuer, kept fresh."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from lyredb.errors import Overloaded, SettingError
from lyredb.plugins.scope import Settings
from lyredb.security.elsewhere import Elsewhere
from lyredb.security.issued_tokens import (
    IssuedTokens,
    Key,
    Keys,
    KeySet,
    OneKey,
    key_set,
    public_key,
    secret_key,
)
from lyredb.security.login_service import LoginService, fetch
from lyredb.security.users import UserDirectory

FETCH_S: Final = 5.0
_KEYS: Final = ("secret", "secretFile", "publicKey", "jwks")
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_logger: Final = logging.getLogger(__name__)


class FreshKeys:
    """A key set that is read again from time to time. `start` once, then `stop` once.

    Attributes:
        keys: What is known of it; empty until the first reading.

    Args:
        source: A file, or an address.
        every_s: How often.
    """

    def __init__(self, source: str, every_s: float) -> None:
        self.keys = KeySet({})
        self._source = source
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read it, and go on reading it.

        Raises:
            SettingError: The file cannot be read or is no key set. An address may be wrong
                or silent: then no token is valid until it answers.
        """
        if is_address(self._source):
            await self._read_again()
        else:
            try:
                self.keys.replace(self._read())
            except (OSError, ValueError) as error:
                raise SettingError("authentication.jwt.jwks", _told(error)) from error
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Read it no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._read_again()

    async def _read_again(self) -> None:
        """Take the keys of now; those of before stay when that does not succeed."""
        try:
            self.keys.replace(await asyncio.to_thread(self._read))
        except (OSError, ValueError, Overloaded) as error:
            _logger.error("the key set of tokens cannot be read: %s", _told(error))

    def _read(self) -> Mapping[str, Key]:
        if not is_address(self._source):
            return key_set(json.loads(Path(self._source).read_bytes()))
        request = urllib.request.Request(self._source, headers={"accept": "application/json"})
        status, body = fetch(request, FETCH_S, lambda: Overloaded("no answer", retry_after_s=1))
        if status != 200:
            raise ValueError(f"its address answers {status}")
        return key_set(json.loads(body))


class ExternalLogins:
    """What the settings say of logins that others decide.

    Attributes:
        elsewhere: For the authenticator; ``None``: nobody else decides.

    Args:
        settings: The rows ``authentication.jwt.*`` and ``authentication.http.*``.
        users: Who is stored here.
        is_super_user: Tells whether a role may do everything.

    Raises:
        SettingError: A key cannot be read, or there are two.
    """

    def __init__(
        self, settings: Settings, users: UserDirectory, is_super_user: Callable[[str], bool]
    ) -> None:
        self._fresh: FreshKeys | None = None
        tokens = self._tokens_of(settings)
        service = _service_of(settings)
        self.elsewhere: Elsewhere | None = None
        if tokens is not None or service is not None:
            self.elsewhere = Elsewhere(users, is_super_user, tokens=tokens, service=service)

    async def start(self) -> None:
        """Read the key set, if there is one; see `FreshKeys.start`."""
        if self._fresh is not None:
            await self._fresh.start()

    async def stop(self) -> None:
        """Read it no more."""
        if self._fresh is not None:
            await self._fresh.stop()

    def _tokens_of(self, settings: Settings) -> IssuedTokens | None:
        given = [name for name in _KEYS if settings.text(f"authentication.jwt.{name}")]
        if not given:
            return None
        if len(given) > 1:
            raise SettingError(
                f"authentication.jwt.{given[1]}", f"beside authentication.jwt.{given[0]}"
            )
        return IssuedTokens(
            self._keys_of(given[0], settings),
            issuer=settings.text("authentication.jwt.issuer"),
            audience=settings.text("authentication.jwt.audience"),
            user_claim=settings.text("authentication.jwt.userClaim"),
            role_claim=settings.text("authentication.jwt.roleClaim"),
            role=settings.text("authentication.jwt.role"),
        )

    def _keys_of(self, name: str, settings: Settings) -> Keys:
        text = settings.text(f"authentication.jwt.{name}")
        try:
            match name:
                case "secret":
                    return OneKey(secret_key(text.encode()))
                case "secretFile":
                    return OneKey(secret_key(Path(text).read_bytes().removesuffix(b"\n")))
                case "publicKey":
                    return OneKey(public_key(Path(text).read_bytes()))
        except (OSError, ValueError) as error:
            raise SettingError(f"authentication.jwt.{name}", _told(error)) from error
        require_safe("authentication.jwt.jwks", text)
        self._fresh = FreshKeys(text, settings.seconds("authentication.jwt.refresh"))
        return self._fresh.keys


def is_address(text: str) -> bool:
    """Tell whether a text is the address of something, and not a file."""
    return text.startswith(("http://", "https://"))


def require_safe(name: str, address: str) -> None:
    """See to it that nobody in between can read or forge what comes from an address.

    Raises:
        SettingError: It is not TLS, and not on this machine.
    """
    if address.startswith("http://") and urlsplit(address).hostname not in _LOCAL:
        raise SettingError(name, "must be https:// unless it is on this machine")


def _service_of(settings: Settings) -> LoginService | None:
    url = settings.text("authentication.http.url")
    if not url:
        return None
    if not is_address(url):
        raise SettingError("authentication.http.url", "must begin with http:// or https://")
    if url.startswith("http://") and urlsplit(url).hostname not in _LOCAL:
        _logger.warning("passwords go to the login service without encryption: use https://")
    return LoginService(
        url,
        role=settings.text("authentication.http.role"),
        timeout_s=settings.seconds("authentication.http.timeout"),
    )


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return str(error)
