"""Which handlers are asked for a request."""

from __future__ import annotations

import asyncio

from lyredb.protocols.http import Authentication, HttpServer, Request
from tests.protocols.http.harness import running


def test_a_handler_with_roots_is_asked_for_their_paths_alone() -> None:
    """Each predicate costs every request; those of the server's own paths are for few."""
    asked: list[str] = []

    def wants(request: Request) -> bool:
        asked.append(request.path)
        return request.path.endswith("/mine")

    async def answer(request: Request) -> None:
        request.respond(200, b"", b"special")

    async def others(request: Request) -> None:
        request.respond(200, b"", b"general")

    def prepare(server: HttpServer, _: Authentication) -> None:
        server.mount("general", lambda request: True, others, priority=-1)
        server.mount("special", wants, answer, priority=1, roots=("$own", "x"))

    async def body() -> None:
        async with running(prepare=prepare) as port:
            paths = ("/x/mine", "/x/other", "/$own/mine", "/xx/mine", "/mine", "/%78/mine")
            bodies = [(await port.ask("GET", path)).body for path in paths]
        special, general = b"special", b"general"
        assert bodies == [special, general, special, general, general, special]
        assert set(asked) == {"x/mine", "x/other", "$own/mine"}

    asyncio.run(body())
