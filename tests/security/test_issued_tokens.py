"""Tokens of an issuer: valid ones say who somebody is, all others say nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lyredb.errors import LoginFailed
from lyredb.security.issued_tokens import (
    MAX_TOKEN_BYTES,
    Claim,
    IssuedTokens,
    KeySet,
    OneKey,
    key_set,
    looks_like_token,
    public_key,
    secret_key,
)

NOW_S: Final = 1_000_000.0
SECRET: Final = b"0123456789abcdef0123456789abcdef"
RSA: Final = rsa.generate_private_key(65537, 2048)
EC: Final = ec.generate_private_key(ec.SECP256R1())
ED: Final = ed25519.Ed25519PrivateKey.generate()


def pem(private: Any) -> bytes:
    return bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def token(key: Any, algorithm: str, **claims: object) -> str:
    return jwt.encode({"sub": "eve", **claims}, key, algorithm)


def by_secret(**options: Any) -> IssuedTokens:
    return IssuedTokens(OneKey(secret_key(SECRET)), now_s=lambda: NOW_S, **options)


@pytest.mark.parametrize(
    ("private", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (ED, "EdDSA")]
)
def test_a_public_key_verifies_what_its_private_one_signed(private: Any, algorithm: str) -> None:
    tokens = IssuedTokens(OneKey(public_key(pem(private))), now_s=lambda: NOW_S)
    assert tokens.verify(token(private, algorithm)) == Claim("eve", "", math.inf)
    forged = token(ec.generate_private_key(ec.SECP256R1()), "ES256")
    with pytest.raises(LoginFailed):
        tokens.verify(forged)


def test_a_secret_verifies_what_it_signed() -> None:
    assert by_secret().verify(token(SECRET, "HS256", exp=NOW_S + 10)).until_s == NOW_S + 10
    long = SECRET + SECRET
    tokens = IssuedTokens(OneKey(secret_key(long)))
    assert tokens.verify(token(long, "HS512")).name == "eve"


def test_a_secret_is_good_for_hashes_that_are_not_longer() -> None:
    assert secret_key(SECRET).algorithms == ["HS256"]
    assert secret_key(SECRET * 2).algorithms == ["HS256", "HS384", "HS512"]


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_public_key_is_never_taken_as_a_secret() -> None:
    """RFC 8725 §3.1: everybody has it, and could sign with it."""
    head = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded({'sub': 'eve'})}"
    digest = hmac.new(pem(RSA), head.encode(), hashlib.sha256).digest()
    forged = head + "." + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    with pytest.raises(LoginFailed):
        IssuedTokens(OneKey(public_key(pem(RSA)))).verify(forged)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
def test_a_token_without_a_signature_is_none(algorithm: str) -> None:
    forged = f"{encoded({'alg': algorithm})}.{encoded({'sub': 'eve'})}."
    with pytest.raises(LoginFailed):
        by_secret().verify(forged)


@pytest.mark.parametrize(
    ("claims", "options"),
    [
        ({"exp": NOW_S - 10}, {}),
        ({"nbf": NOW_S + 10}, {}),
        ({"exp": "never"}, {}),
        ({"exp": True}, {}),
        ({"sub": ""}, {}),
        ({"iss": "other"}, {"issuer": "us"}),
        ({}, {"issuer": "us"}),
        ({"aud": "other"}, {"audience": "us"}),
        ({}, {"audience": "us"}),
        ({"aud": "other"}, {}),
        ({}, {"user_claim": "name"}),
        ({"name": ["eve"]}, {"user_claim": "name"}),
    ],
)
def test_a_token_that_does_not_say_what_it_has_to_is_refused(
    claims: Mapping[str, object], options: Mapping[str, str]
) -> None:
    with pytest.raises(LoginFailed):
        by_secret(**options).verify(token(SECRET, "HS256", **claims))


def test_a_token_for_several_that_names_us_is_taken() -> None:
    tokens = by_secret(issuer="us", audience="db", role_claim="role", role="guest")
    good = {"iss": "us", "aud": ["x", "db"]}
    assert tokens.verify(token(SECRET, "HS256", **good)).role == "guest"
    assert tokens.verify(token(SECRET, "HS256", role="boss", **good)).role == "boss"
    assert tokens.verify(token(SECRET, "HS256", role=["boss"], **good)).role == "guest"


@pytest.mark.parametrize(
    "text", ["", "a.b.c", "eyJ.eyJ.x", "e" * (MAX_TOKEN_BYTES + 1), "eyJ\0..", "ü.ü.ü"]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(LoginFailed):
        by_secret().verify(text)


def test_a_short_secret_is_none() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        secret_key(b"short")


def jwk(private: Any, key_id: str, **more: str) -> dict[str, Any]:
    algorithm = {RSA: "RS256", EC: "ES256"}[private]
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key())
    found: dict[str, Any] = json.loads(made)
    return found | {"kid": key_id} | more


def test_a_key_set_is_asked_by_the_id_in_the_token() -> None:
    keys = KeySet(key_set({"keys": [jwk(RSA, "r"), jwk(EC, "e")]}))
    tokens = IssuedTokens(keys)
    good = jwt.encode({"sub": "eve"}, RSA, "RS256", headers={"kid": "r"})
    assert tokens.verify(good).name == "eve"
    for wrong in ("e", "other", ""):
        headers = {"kid": wrong} if wrong else None
        with pytest.raises(LoginFailed):
            tokens.verify(jwt.encode({"sub": "eve"}, RSA, "RS256", headers=headers))
    keys.replace(key_set({"keys": [jwk(EC, "e")]}))
    with pytest.raises(LoginFailed):
        tokens.verify(good)


def test_keys_for_other_uses_and_secrets_are_left_out() -> None:
    """A secret in a key set that everybody can read would be everybody's."""
    secret = {"kty": "oct", "k": encoded("x" * 40), "kid": "s"}
    found = key_set({"keys": [jwk(RSA, "enc", use="enc"), secret, jwk(EC, "e"), 7, {"kty": "EC"}]})
    assert list(found) == ["e"]
    wrongs: list[object] = [{"keys": [secret]}, {"keys": []}, {}, [], None]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="key set"):
            key_set(wrong)


def test_passwords_that_may_be_tokens_are_told_from_others() -> None:
    assert looks_like_token(token(SECRET, "HS256"))
    assert looks_like_token(token(SECRET, "HS256").encode())
    for other in ("secret", "a.b.c", b"\xff", "eyJ"):
        assert not looks_like_token(other)
