"""Bad HTTP against the real server: wrong framing, slowness, sizes, paths.

Around every test a good client works on: see `bystander`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bystander import Bystander, undisturbed
from tests.e2e.clients import AUTHORIZATION
from tests.e2e.raw_http import (
    LEAKS,
    RawHttp,
    Reply,
    ask,
    assert_clean,
    assert_refused,
    raw_http,
    request,
)
from tests.e2e.server_process import ServerProcess
from tests.e2e.strict_server import strict_server

CONFIG = """
http: {headersTimeout: 1s, timeout: 1s, maxHeaderSize: 8000, maxBodySize: 100kB}
"""
HEAD = f"Host: 127.0.0.1\r\nAuthorization: {AUTHORIZATION}\r\n".encode()


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    with strict_server(CONFIG, web={"index.html": "hello", ".secret": "no"}) as server:
        (server.data.parent / "app" / "web" / "passwords").symlink_to("/etc/passwd")
        yield server


@pytest.fixture(scope="module")
def bystander(strict: ServerProcess) -> Iterator[Bystander]:
    with undisturbed(strict) as good:
        yield good


@pytest.fixture(autouse=True)
def good_client_goes_on(bystander: Bystander) -> Iterator[None]:
    yield
    bystander.check()


def assert_ended_with(server: ServerProcess, data: bytes, status: int) -> None:
    """These bytes are answered with this status, once, and the connection ends."""
    with raw_http(server) as connection:
        connection.send(data)
        assert_refused(connection.reply(), status)
        assert connection.at_end(), "nothing after a refusal counts as a request"


def test_slow_headers_and_bodies_get_408(strict: ServerProcess) -> None:
    assert_ended_with(strict, b"GET /Sensor/1 HTTP/1.1\r\nHo", 408)
    assert_ended_with(
        strict, b"PUT /Sensor/1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 9\r\n\r\nabc", 408
    )


def test_connection_that_says_nothing_is_closed(strict: ServerProcess) -> None:
    with raw_http(strict) as connection:
        assert connection.at_end()


@pytest.mark.parametrize(
    "lines",
    [b"X: " + b"y" * 20_000 + b"\r\n", b"X: y\r\n" * 5_000],
    ids=["one", "many"],
)
def test_large_headers_get_431(strict: ServerProcess, lines: bytes) -> None:
    assert_ended_with(strict, b"GET /Sensor/1 HTTP/1.1\r\n" + HEAD + lines + b"\r\n", 431)


def test_large_request_line_gets_431(strict: ServerProcess) -> None:
    assert_ended_with(strict, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 431)


def test_large_body_gets_413_by_its_length_before_it_is_sent(strict: ServerProcess) -> None:
    assert_ended_with(
        strict, b"PUT /Sensor/1 HTTP/1.1\r\n" + HEAD + b"Content-Length: 100001\r\n\r\n", 413
    )


def test_large_chunked_body_gets_413(strict: ServerProcess) -> None:
    chunks = (b"1000\r\n" + b"x" * 4_096 + b"\r\n") * 30
    head = b"PUT /Sensor/1 HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert_ended_with(strict, head + chunks, 413)


def test_trailers_are_bounded_and_change_no_header(strict: ServerProcess) -> None:
    """RFC 9110 §6.5.1: a trailer is not merged into the headers."""
    head = b"PUT /Sensor/trailers HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    body = b"c\r\n" + b'{"value": 1}' + b"\r\n0\r\n"
    with raw_http(strict) as connection:
        connection.send(head + body + b"Authorization: Basic !!!\r\nIf-Match: nonsense\r\n\r\n")
        assert connection.reply().status == 204
    assert_ended_with(strict, head + body + b"X: y\r\n" * 5_000 + b"\r\n", 431)
    with raw_http(strict) as connection:
        connection.send(head + body + b"X: ")
        for _ in range(40):
            connection.send(b"y" * 1_000)
        assert_refused(connection.reply(), 431)


def smuggled(*lines: bytes) -> bytes:
    """A request whose end is a matter of opinion, and what would be taken for another."""
    second = b"GET /Sensor/smuggled HTTP/1.1\r\n" + HEAD + b"\r\n"
    head = b"PUT /Sensor/1 HTTP/1.1\r\n" + HEAD + b"".join(line + b"\r\n" for line in lines)
    return head + b"\r\n0\r\n\r\n" + second


CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "data",
    [
        smuggled(b"Content-Length: 5", CHUNKED),
        smuggled(CHUNKED, b"Content-Length: 5"),
        smuggled(b"Content-Length: 5", b"Content-Length: 6"),
        smuggled(b"Content-Length: 5, 5"),
        smuggled(b"Content-Length: +5"),
        smuggled(b"Content-Length: -1"),
        smuggled(b"Content-Length: 99999999999999999999999"),
        smuggled(b"Transfer-Encoding: xchunked"),
        smuggled(b"Transfer-Encoding: chunked, identity"),
        smuggled(CHUNKED, b"Transfer-Encoding: identity"),
        smuggled(b"Transfer-Encoding : chunked"),
        smuggled(b"Transfer-Encoding:\r\n chunked"),
        smuggled(CHUNKED, b"X: a\rb"),
    ],
)
def test_ambiguous_framing_is_refused(strict: ServerProcess, data: bytes) -> None:
    """RFC 9112 §6.3: whatever stands behind such a request is never a request."""
    assert_ended_with(strict, data, 400)


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity, chunked", b"gzip,\tchunked"])
def test_transfer_codings_are_refused_rather_than_ignored(
    strict: ServerProcess, coding: bytes
) -> None:
    """Else what somebody compressed would be kept as if it was not."""
    assert_ended_with(strict, smuggled(b"Transfer-Encoding: " + coding), 400)
    with raw_http(strict) as connection:  # one that is taken, however it is written
        connection.send(request("GET", "/Sensor/", "Transfer-Encoding: Chunked "))
        connection.send(b"0\r\n\r\n")
        assert connection.reply().status == 200


@pytest.mark.parametrize("size", [b"-2", b"ffffffffffffffffff", b"0x2", b"", b"zz"])
def test_wrong_chunk_sizes_are_refused(strict: ServerProcess, size: bytes) -> None:
    head = b"PUT /Sensor/1 HTTP/1.1\r\n" + HEAD + CHUNKED + b"\r\n\r\n"
    assert_ended_with(strict, head + size + b"\r\n{}\r\n0\r\n\r\n", 400)


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"BREW /Sensor/1 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET Sensor/1 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET http://[::bad/ HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"CONNECT /Sensor/1 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"CONNECT elsewhere:80 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /Sensor/1 HTTP/3.7\r\n" + HEAD + b"\r\n",
        b"GET /Sensor/1 HTTP/2.0\r\n" + HEAD + b"\r\n",
        b"GET /Sensor/1 HTTP/0.9\r\n" + HEAD + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /Sensor/1 HTTP/1.1\r\n\r\n",
        b"GET /Sensor/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /Sensor/1 HTTP/1.1\r\n" + HEAD + b"X: \x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",
    ],
)
def test_what_is_no_http_request_gets_400(strict: ServerProcess, data: bytes) -> None:
    assert_ended_with(strict, data, 400)


def test_pipelined_requests_are_answered_in_order_up_to_the_bad_one(
    strict: ServerProcess,
) -> None:
    put = request("PUT", "/Sensor/pipe", body=b'{"value":1}')
    with raw_http(strict) as connection:
        connection.send((put + request("GET", "/Sensor/pipe")) * 20 + b"GARBAGE\r\n\r\n" + put)
        statuses = [connection.reply().status for _ in range(41)]
        assert statuses == [204, 200] * 20 + [400]
        assert connection.at_end()


def test_half_closed_connection_still_gets_its_answer(strict: ServerProcess) -> None:
    """Also when it has to wait for the disk (shell scripts with netcat do this)."""
    for data, status in (
        (request("GET", "/Sensor/good"), 200),
        (request("PUT", "/Sensor/half", body=b'{"value":1}'), 204),
        (request("PUT", "/Sensor/half", body=b'{"value":2}') * 3, 204),
    ):
        with raw_http(strict) as connection:
            connection.send(data)
            connection.socket.shutdown(1)
            for _ in range(data.count(b"HTTP/1.1")):
                assert connection.reply().status == status
            assert connection.at_end()


def test_half_closed_in_the_middle_of_a_body_writes_nothing(strict: ServerProcess) -> None:
    with raw_http(strict) as connection:
        connection.send(b"PUT /Sensor/cut HTTP/1.1\r\n" + HEAD + b"Content-Length: 90\r\n\r\n{}")
        connection.socket.shutdown(1)
        assert connection.at_end()
    assert ask(strict, "GET", "/Sensor/cut").status == 404


OUTSIDE = (
    "/../config.yaml",
    "/..%2fconfig.yaml",
    "/%2e%2e/config.yaml",
    "/%2e%2e%2f%2e%2e%2fetc/passwd",
    "/....//config.yaml",
    "/..\\config.yaml",
    "/%5c..%5cconfig.yaml",
    "//etc/passwd",
    "/%2fetc/passwd",
    "/index.html%00.js",
    "/index.html/../../config.yaml",
    "/.secret",
    "/passwords",
    "/" + "a/" * 3_000,
)


@pytest.mark.parametrize("path", OUTSIDE, ids=[path[:20] for path in OUTSIDE])
def test_no_file_outside_of_web_is_served(strict: ServerProcess, path: str) -> None:
    assert ask(strict, "GET", "/index.html").body == b"hello", "files are served at all"
    assert_refused(ask(strict, "GET", path), 404)


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/Sensor/%ff", 400, "UTF-8"),
        ("/Sensor/%ed%a0%80", 400, "UTF-8"),
        ("/Sensor/%00", 400, "key"),
        ("/Sensor/a%2Fb", 404, "no such record"),
        ("/Sensor/..", 404, "no such record"),
        ("/Sensor/%", 404, "no such record"),
        ("/Sensor/%zz", 404, "no such record"),
        ("/Sensor/" + "k" * 3_000, 400, "1978 bytes"),
        ("/Counter/abc", 404, "integers"),
        ("/Counter/01", 404, "integers"),
        ("/Counter/" + "9" * 5_000, 404, "integers"),
        ("/Nothing/1", 404, "nothing is served"),
        ("/sensor/1", 404, "nothing is served"),
        ("/Sealed/x.nope", 404, "no such record"),
    ],
)
def test_wrong_path_gets_its_own_sentence(
    strict: ServerProcess, path: str, status: int, word: str
) -> None:
    assert_refused(ask(strict, "GET", path), status, word)


def test_percent_encoded_slash_is_the_same_key_everywhere(strict: ServerProcess) -> None:
    """One decoded path names one record, so no check can be passed by another spelling."""
    assert ask(strict, "PUT", "/Sensor/p%2Fq", body=b'{"value":7}').status == 204
    for path in ("/Sensor/p/q", "/%53ensor/p%2fq", "/Sensor%2Fp/q"):
        assert ask(strict, "GET", path).body == b'{"id":"p/q","value":7}'


@pytest.mark.parametrize("method", ["COPY", "MOVE", "QUERY", "PROPFIND", "POST"])
def test_method_that_a_record_has_not_gets_405_with_allow(
    strict: ServerProcess, method: str
) -> None:
    reply = ask(strict, method, "/Sensor/1")
    assert_refused(reply, 405, method)
    assert reply.headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS, TRACE"


def test_idle_connections_end_at_the_limit_and_leave_room_when_gone() -> None:
    """Those above it are told so at once; those within go on working."""
    with strict_server("http: {maxConnections: 1500, headersTimeout: 60s}") as server:
        crowd = [RawHttp(server) for _ in range(1_500)]
        late = [RawHttp(server) for _ in range(20)]
        try:
            for connection in late:
                assert_refused(connection.reply(), 503, "too many connections")
                assert connection.at_end()
            for connection in (crowd[0], crowd[-1]):
                connection.send(request("PUT", "/Sensor/crowd", body=b'{"value":1}'))
                assert connection.reply().status == 204
        finally:
            for connection in [*crowd, *late]:
                connection.close()
        assert until_answered(server).status == 200
        assert not LEAKS.search(server.errors())


def until_answered(server: ServerProcess) -> Reply:
    """The server notices closed connections in its own time; ask until it has."""
    for _ in range(1_000):
        with raw_http(server) as connection:
            connection.send(request("GET", "/Sensor/crowd"))
            reply = connection.reply()
        assert_clean(reply)
        if reply.status != 503:
            return reply
    raise AssertionError("closed connections are still counted")
