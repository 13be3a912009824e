"""Users of others: who is stored here is decided here, and nobody else may do everything."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from lyredb.errors import LoginFailed, Overloaded, TooManyAttempts
from lyredb.security.attempts import MAX_ATTEMPTS
from lyredb.security.authenticator import Account, Authenticator
from lyredb.security.elsewhere import Elsewhere, watch_end
from lyredb.security.issued_tokens import IssuedTokens, OneKey, secret_key
from lyredb.security.login_service import LoginService
from lyredb.security.passwords import Passwords
from lyredb.security.principals import SUPER_USER, Role
from lyredb.security.users import User

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SECRET = b"0123456789abcdef0123456789abcdef"


class Service:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.was_asked = threading.Event()
        self.status = 200
        self.answer: object = {"result": "allow", "role": "guest"}
        self.headers: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def body(self) -> bytes:
        return self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()


@contextmanager
def served() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            service.asked.append(json.loads(self.rfile.read(size)))
            service.was_asked.set()
            service.gate.wait(10)
            self.send_response(service.status)
            for name, value in service.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if service.status != 204:
                with suppress(BrokenPipeError):  # who asked has given up
                    self.wfile.write(service.body())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/auth"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        service.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Place:
    """An authenticator that asks a service and takes tokens; bob is stored here."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self.users = {"bob": User("bob", CHEAP.hash("right"), "clerk")}
        self.supers = {SUPER_USER.name}
        tokens = IssuedTokens(OneKey(secret_key(SECRET)), role_claim="role", role="")
        service = LoginService(url, role="standard", timeout_s=timeout_s)
        elsewhere = Elsewhere(
            self, lambda role: role in self.supers, tokens=tokens, service=service
        )
        self.authenticator = Authenticator(self, Passwords(CHEAP), elsewhere=elsewhere)

    def find(self, name: str) -> User | None:
        return self.users.get(name)


def run(body: Callable[[Place, Service], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        with served() as service:
            place = Place(service.url, **options)
            try:
                await body(place, service)
            finally:
                await place.authenticator.close()

    asyncio.run(whole())


def token(**claims: object) -> str:
    return jwt.encode(claims, SECRET, "HS256")


def test_the_service_is_told_all_and_its_role_holds() -> None:
    async def body(place: Place, service: Service) -> None:
        account = await place.authenticator.verify("eve", "pä", address="10.0.0.1", client_id="c1")
        assert account == Account("eve", Role("guest"))
        assert service.asked == [
            {"username": "eve", "password": "pä", "clientid": "c1", "address": "10.0.0.1"}
        ]

    run(body)


def test_an_answer_without_content_lets_in_with_the_role_of_the_settings() -> None:
    async def body(place: Place, service: Service) -> None:
        service.status = 204
        assert (await place.authenticator.verify("eve", "x")).principal == Role("standard")

    run(body)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"result": "deny"}),
        (200, {"result": "ignore"}),
        (200, {}),
        (200, b""),
        (200, b"allow"),
        (200, ["allow"]),
        (201, {"result": "allow"}),
        (401, {"result": "allow"}),
        (302, {"result": "allow"}),
        (200, {"result": "allow", "role": "super_user"}),
        (200, {"result": "allow", "role": "a:b"}),
    ],
)
def test_any_other_answer_keeps_out(status: int, answer: object) -> None:
    """A redirect too: it would take the password elsewhere."""

    async def body(place: Place, service: Service) -> None:
        service.status, service.answer = status, answer
        service.headers = {"location": service.url}
        with pytest.raises(LoginFailed):
            await place.authenticator.verify("eve", "x")
        assert len(service.asked) == 1

    run(body)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_service_in_trouble_keeps_out_and_counts_nothing(status: int) -> None:
    async def body(place: Place, service: Service) -> None:
        service.status = status
        for _ in range(MAX_ATTEMPTS + 1):
            with pytest.raises(Overloaded):
                await place.authenticator.verify("eve", "x")
        service.status = 200
        assert (await place.authenticator.verify("eve", "x")).name == "eve"

    run(body)


def test_a_service_that_does_not_answer_keeps_out() -> None:
    async def body(place: Place, service: Service) -> None:
        service.gate.clear()
        with pytest.raises(Overloaded):
            await place.authenticator.verify("eve", "x")

    run(body, timeout_s=0.1)


def test_a_service_that_is_not_there_keeps_out() -> None:
    async def body() -> None:
        place = Place("http://127.0.0.1:1/")
        with pytest.raises(Overloaded):
            await place.authenticator.verify("eve", "x")
        await place.authenticator.close()

    asyncio.run(body())


def test_who_is_stored_here_is_decided_here() -> None:
    """Whatever the service says: it cannot log in as an administrator of this server."""

    async def body(place: Place, service: Service) -> None:
        with pytest.raises(LoginFailed):
            await place.authenticator.verify("bob", "wrong")
        assert (await place.authenticator.verify("bob", "right")).principal == Role("clerk")
        assert service.asked == []

    run(body)


def test_guesses_are_counted_as_for_everybody() -> None:
    async def body(place: Place, service: Service) -> None:
        service.answer = {"result": "deny"}
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(LoginFailed):
                await place.authenticator.verify("eve", "x", address="10.0.0.1")
        with pytest.raises(TooManyAttempts):
            await place.authenticator.verify("eve", "y", address="10.0.0.1")
        assert len(service.asked) == MAX_ATTEMPTS

    run(body)


def test_an_answer_is_remembered_for_the_client_that_it_was_about() -> None:
    async def body(place: Place, service: Service) -> None:
        verify = place.authenticator.verify
        for client in ("c1", "c1", "c2", "c1"):
            await verify("eve", "x", client_id=client)
        assert [one["clientid"] for one in service.asked] == ["c1", "c2"]
        assert place.authenticator.cached("eve", "x") is None
        assert place.authenticator.cached("eve", "x", client_id="c1") is not None
        place.authenticator.forget("eve")
        assert place.authenticator.cached("eve", "x", client_id="c1") is None

    run(body)


def test_bytes_that_are_no_text_are_refused_without_asking() -> None:
    async def body(place: Place, service: Service) -> None:
        with pytest.raises(LoginFailed):
            await place.authenticator.verify("eve", b"\xff")
        assert service.asked == []

    run(body)


def test_a_token_is_a_password() -> None:
    async def body(place: Place, service: Service) -> None:
        verify = place.authenticator.verify
        until_s = int(time.time()) + 100
        good = token(sub="eve", role="guest", exp=until_s)
        for name in ("eve", ""):
            assert await verify(name, good) == Account("eve", Role("guest"), until_s)
            assert await verify(name, good.encode()) == Account("eve", Role("guest"), until_s)
        for name, wrong in (("zoe", good), ("eve", good[:-4]), ("eve", token(sub="eve", exp=1))):
            with pytest.raises(LoginFailed):
                await verify(name, wrong)
        assert service.asked == []

    run(body)


def test_a_token_of_a_user_here_gives_that_users_role() -> None:
    async def body(place: Place, service: Service) -> None:
        of_token = place.authenticator.of_token
        found = of_token(token(sub="bob", role="guest"))
        assert found is not None
        assert found.principal == Role("clerk")
        place.users["bob"] = User("bob", "h", "clerk", active=False)
        with pytest.raises(LoginFailed, match="inactive"):
            of_token(token(sub="bob"))

    run(body)


def test_a_token_gives_nobody_a_role_that_may_do_everything() -> None:
    async def body(place: Place, service: Service) -> None:
        place.supers.add("root")
        for role in ("super_user", "root", ""):
            with pytest.raises(LoginFailed):
                place.authenticator.of_token(token(sub="eve", role=role))
        place.users["admin"] = User("admin", CHEAP.hash("right"), "root")
        with pytest.raises(LoginFailed, match="with the password"):
            place.authenticator.of_token(token(sub="admin"))
        for name in ("a:b", "a\n", "x" * 300):
            with pytest.raises(LoginFailed):
                place.authenticator.of_token(token(sub=name, role="guest"))

    run(body)


def test_a_user_that_is_made_while_the_service_is_asked_has_a_password_of_its_own() -> None:
    async def body(place: Place, service: Service) -> None:
        service.gate.clear()
        login = asyncio.create_task(place.authenticator.verify("eve", "hers elsewhere"))
        await asyncio.to_thread(service.was_asked.wait, 10)
        place.users["eve"] = User("eve", CHEAP.hash("right"), "clerk")
        service.gate.set()
        with pytest.raises(LoginFailed):
            await login

    run(body)


def test_failed_tokens_keep_nobody_else_waiting() -> None:
    """Devices without a user name have one in common."""

    async def body(place: Place, service: Service) -> None:
        for _ in range(MAX_ATTEMPTS + 1):
            with pytest.raises(LoginFailed):
                await place.authenticator.verify("", token(sub="eve")[:-3], address="10.0.0.1")
        good = token(sub="eve", role="guest")
        assert (await place.authenticator.verify("", good, address="10.0.0.1")).name == "eve"

    run(body)


def test_a_login_that_ends_by_itself_is_told() -> None:
    async def body() -> None:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watch_end(Account("eve", Role("r"), time.time() + 0.01), told.set_result)
        assert "token" in await asyncio.wait_for(told, 5)
        forget = watch_end(Account("eve", Role("r"), time.time() + 0.01), told.set_result)
        forget()
        watch_end(Account("eve", Role("r")), told.set_result)()

    asyncio.run(body())
