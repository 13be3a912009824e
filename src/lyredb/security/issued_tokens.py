"""JSON Web Tokens of somebody else (RFC 7519): an identity provider, or another broker's.

Whoever has the secret, or a key of the provider, is believed about who somebody is. A token
is good for one kind of key only: with a public key no HMAC is taken, which anybody could make
of it (RFC 8725 §3.1). A user that exists here keeps its own role, whatever a token says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import jwt

from lyredb.errors import LoginFailed

MAX_TOKEN_BYTES: Final = 16_384
"""Providers put much into them; longer ones are refused before anything is decoded."""
_LEEWAY_S: Final = 5.0
"""Clocks of two machines are never the same."""
_HMAC: Final[Mapping[str, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}
"""How many bytes a secret has to have: as many as the hash (RFC 7518 §3.2), or it can be
guessed off line."""
_BY_KIND: Final[Mapping[str, Sequence[str]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
MIN_SECRET_BYTES: Final = min(_HMAC.values())
MIN_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what it may verify.

    Attributes:
        value: As PyJWT takes it. Does not print.
        algorithms: Of signatures.
    """

    value: Any = field(repr=False)
    algorithms: Sequence[str]


@dataclass(frozen=True, slots=True)
class Claim:
    """Who somebody is, as a token says.

    Attributes:
        name: The user's name.
        role: ``""`` when nothing was said of it.
        until_s: The end of the token, in seconds since 1970; infinite for none.
    """

    name: str
    role: str
    until_s: float


class Keys(Protocol):
    """The keys of the issuer."""

    def find(self, key_id: str) -> Key | None:
        """Return the key of an id, ``""`` when the token names none."""


class OneKey:
    """An issuer with one key, whatever it calls it."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def find(self, key_id: str) -> Key | None:
        """Return the key."""
        return self._key


class KeySet:
    """A JSON Web Key Set (RFC 7517); `replace` takes a newer one."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = keys

    def find(self, key_id: str) -> Key | None:
        """Return the key of an id; without an id, the only key there is."""
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def replace(self, keys: Mapping[str, Key]) -> None:
        """Take other keys from now on."""
        self._keys = keys


def secret_key(secret: bytes) -> Key:
    """Return the key of a shared secret, for the hashes that it is long enough for.

    Raises:
        ValueError: It is shorter than `MIN_SECRET_BYTES`.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret has at least {MIN_SECRET_BYTES} bytes, this one {len(secret)}")
    return Key(secret, [name for name, size in _HMAC.items() if len(secret) >= size])


def public_key(pem: bytes) -> Key:
    """Return a public key or that of a certificate, in PEM.

    Raises:
        ValueError: It is none that signs tokens.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if b"BEGIN CERTIFICATE" in pem:
        found: object = load_pem_x509_certificate(pem).public_key()
    else:
        found = load_pem_public_key(pem)
    match found:
        case rsa.RSAPublicKey() if found.key_size >= MIN_RSA_BITS:
            return Key(found, _BY_KIND["RSA"])
        case ec.EllipticCurvePublicKey():
            return Key(found, _BY_KIND["EC"])
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return Key(found, _BY_KIND["OKP"])
    raise ValueError(f"a public key has to be RSA of {MIN_RSA_BITS} bits, EC or Ed25519")


def key_set(data: object) -> dict[str, Key]:
    """Return the public keys of a key set by their ids; those for other uses are left out.

    Raises:
        ValueError: It is no key set, or has no key that verifies tokens.
    """
    listed = data.get("keys") if isinstance(data, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("a key set is an object with a list of keys")
    keys: dict[str, Key] = {}
    for one in listed:
        kind = one.get("kty") if isinstance(one, Mapping) else None
        if kind not in _BY_KIND or one.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(dict(one)).key
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            continue  # of a kind that is newer than this version
        if getattr(key, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and kind == "RSA":
            continue
        keys[str(one.get("kid", ""))] = Key(key, _BY_KIND[str(kind)])
    if not keys:
        raise ValueError("the key set has no key that verifies tokens")
    return keys


class IssuedTokens:
    """Verifies tokens of one issuer.

    Args:
        keys: Of the issuer.
        issuer: What ``iss`` has to be, ``""`` for anything.
        audience: What ``aud`` has to have, ``""``: tokens with an audience are refused.
        user_claim: Which claim is the user's name.
        role_claim: Which claim is the role, ``""`` for none.
        role: Of whom the token gives none.
        now_s: The wall clock, in seconds since 1970.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str = "",
        audience: str = "",
        user_claim: str = "sub",
        role_claim: str = "",
        role: str = "",
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._user_claim = user_claim
        self._role_claim = role_claim
        self._role = role
        self._now_s = now_s

    def verify(self, token: str) -> Claim:
        """Return who a token says somebody is. About 20 µs for HMAC, 60 µs for RSA.

        Raises:
            LoginFailed: It is not valid, or not any more, or says no name.
        """
        claims = self._claims(token)
        now_s = self._now_s()
        until_s = _time_of(claims, "exp", math.inf)
        if until_s + _LEEWAY_S <= now_s or _time_of(claims, "nbf", 0.0) - _LEEWAY_S > now_s:
            raise LoginFailed("invalid token: its time is over, or has not begun")
        name = claims.get(self._user_claim)
        if not isinstance(name, str) or not name:
            raise LoginFailed("invalid token: it says no user name")
        role = claims.get(self._role_claim) if self._role_claim else None
        return Claim(name, role if isinstance(role, str) and role else self._role, until_s)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES:
            raise LoginFailed("invalid token")
        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            key = self._keys.find(key_id if isinstance(key_id, str) else "")
            if key is None:
                raise LoginFailed("invalid token: its key is not known")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.value,
                algorithms=list(key.algorithms),
                issuer=self._issuer or None,
                audience=self._audience or None,
                # Times are checked against our own clock, which tests can move.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise LoginFailed("invalid token") from None
        return claims


def looks_like_token(text: str | bytes) -> bool:
    """Tell whether a password may be a token: three parts, the first a JSON object."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return data.startswith(b"eyJ") and data.count(b".") == 2


def _time_of(claims: Mapping[str, Any], name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise LoginFailed(f"invalid token: its {name} is no time")
    return float(value)
