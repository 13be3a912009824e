"""What a port counts, and the id by which an error is found in the log."""

from __future__ import annotations

import asyncio

import pytest

from lyredb.errors import RecordNotFound
from lyredb.protocols.http import Request
from lyredb.protocols.http.statistics import HttpStatistics
from tests.protocols.http.harness import Reply, running


async def _answer(request: Request) -> None:
    """Answer with the status that the path ends in; 500 by a mistake."""
    status = int(request.path.rpartition("/")[2])
    if status == 500:
        raise ZeroDivisionError
    if status == 404:
        raise RecordNotFound("nothing is here")
    request.respond(status)


def ask(path: str, head: bytes = b"") -> Reply:
    async def body() -> Reply:
        async with running(_answer) as port:
            return await port.ask("GET", path, head)

    return asyncio.run(body())


def test_answers_are_counted_by_the_class_of_their_status() -> None:
    """Each on a connection of its own; all are open when the numbers are taken."""

    async def body() -> HttpStatistics:
        async with running(_answer) as port:
            for status in (200, 204, 304, 404, 500):
                await port.ask("GET", f"/x/{status}")
            return port.server.statistics()

    counted = asyncio.run(body())
    assert counted == HttpStatistics(
        5, 5, succeeded=2, redirected=1, refused=1, failed=1, buffered_bytes=0, cut_off=0
    )


def test_a_failure_is_found_in_the_log_by_the_id_of_its_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A user's report leads to the traceback."""
    reply = ask("/x/500")
    [line] = [each for each in caplog.records if each.exc_info]
    assert reply.status == 500
    assert len(reply.headers["x-request-id"]) == 16
    assert vars(line)["request"] == reply.headers["x-request-id"]


def test_the_id_of_a_proxy_is_kept() -> None:
    assert ask("/x/500", b"x-request-id: abc-1\r\n").headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("bad", [b"a b", b"a" * 129, b"\xc3\xa9"])
def test_an_id_that_would_spoil_the_log_is_replaced(bad: bytes) -> None:
    """Blanks, endless ones and other alphabets."""
    reply = ask("/x/500", b"x-request-id: %b\r\n" % bad)
    assert len(reply.headers["x-request-id"]) == 16


def test_an_answer_that_is_no_failure_of_the_server_needs_no_id() -> None:
    assert "x-request-id" not in ask("/x/404").headers
