"""Tokens say who somebody is; what they may do, and whether at all, is looked up."""

from __future__ import annotations

import base64
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from lyredb.errors import LoginFailed, StorageFailed
from lyredb.security.authenticator import Account
from lyredb.security.principals import Role
from lyredb.security.token_key import token_key
from lyredb.security.tokens import Tokens
from lyredb.security.users import User

KEY = bytes(range(64))


class Place:
    """Tokens over users in a dict, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0
        self.users = {"ada": User("ada", "hash", "reader", version=7)}
        self.tokens = Tokens(KEY, self, access_s=60, refresh_s=600, now_s=lambda: self.now_s)

    def find(self, name: str) -> User | None:
        return self.users.get(name)


def test_a_token_gives_the_account_with_the_role_of_today() -> None:
    place = Place()
    pair = place.tokens.issue("ada")
    assert place.tokens.verify(pair.access) == Account("ada", Role("reader"))
    assert pair.access not in repr(pair)
    assert pair.refresh not in repr(pair)


@pytest.mark.parametrize(
    "after",
    [
        None,
        User("ada", "hash", "reader", active=False, version=7),
        User("ada", "hash", "reader", version=8),
    ],
)
def test_a_change_of_the_user_voids_both_tokens(after: User | None) -> None:
    place = Place()
    pair = place.tokens.issue("ada")
    if after is None:
        del place.users["ada"]
    else:
        place.users["ada"] = after
    with pytest.raises(LoginFailed, match="invalid token"):
        place.tokens.verify(pair.access)
    with pytest.raises(LoginFailed, match="invalid token"):
        place.tokens.refresh(pair.refresh)


def test_a_token_has_an_end_and_the_other_one_renews_it() -> None:
    place = Place()
    pair = place.tokens.issue("ada")
    place.now_s += 60
    with pytest.raises(LoginFailed, match="its time is over"):
        place.tokens.verify(pair.access)
    renewed = place.tokens.refresh(pair.refresh)
    assert renewed.refresh == pair.refresh
    assert place.tokens.verify(renewed.access).name == "ada"
    place.now_s += 540
    with pytest.raises(LoginFailed, match="its time is over"):
        place.tokens.refresh(pair.refresh)


def test_neither_token_does_what_the_other_is_for() -> None:
    place = Place()
    pair = place.tokens.issue("ada")
    with pytest.raises(LoginFailed, match="no access token"):
        place.tokens.verify(pair.refresh)
    with pytest.raises(LoginFailed, match="no refresh token"):
        place.tokens.refresh(pair.access)


def unsigned(claims: dict[str, object]) -> str:
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts]
    return b".".join([*encoded, b""]).decode()


CLAIMS: dict[str, object] = {
    "iss": "lyredb",
    "sub": "ada",
    "use": "access",
    "ver": 7,
    "exp": 2_000_000,
}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "x" * 100_000,
        "\ud800",
        unsigned(CLAIMS),
        jwt.encode(CLAIMS, bytes(64), "HS256"),
        jwt.encode(CLAIMS, KEY, "HS512"),
        jwt.encode(CLAIMS | {"iss": "other"}, KEY, "HS256"),
        jwt.encode({key: CLAIMS[key] for key in CLAIMS if key != "exp"}, KEY, "HS256"),
        jwt.encode(CLAIMS | {"exp": "soon"}, KEY, "HS256"),
    ],
)
def test_what_we_have_not_signed_is_refused(token: str) -> None:
    with pytest.raises(LoginFailed, match="invalid token"):
        Place().tokens.verify(token)


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as executor:
        keys = set(executor.map(lambda _: token_key(tmp_path), range(16)))
    assert len(keys) == 1
    file = tmp_path / "keys" / "tokens.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert os.listdir(file.parent) == ["tokens.key"]


def test_a_key_that_others_can_read_is_none(tmp_path: Path) -> None:
    token_key(tmp_path)
    (tmp_path / "keys" / "tokens.key").chmod(0o644)
    with pytest.raises(StorageFailed, match="owner alone"):
        token_key(tmp_path)


def test_a_key_that_was_cut_is_none(tmp_path: Path) -> None:
    token_key(tmp_path)
    (tmp_path / "keys" / "tokens.key").write_bytes(b"short")
    with pytest.raises(StorageFailed, match="is no key"):
        token_key(tmp_path)
