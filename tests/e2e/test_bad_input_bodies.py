"""Bad bodies, queries and headers against the real server: the protocol's error, a sentence.

Around every test a good client works on: see `bystander`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import cbor2
import pytest

from tests.e2e.bystander import Bystander, undisturbed
from tests.e2e.clients import sse
from tests.e2e.raw_http import Reply, ask, assert_clean, assert_refused, raw_http, request
from tests.e2e.server_process import ServerProcess
from tests.e2e.strict_server import resident_bytes

JSON = "Content-Type: application/json"
CBOR = "Content-Type: application/cbor"
MSGPACK = "Content-Type: application/x-msgpack"
BOMB_MEMORY = 32_000_000
BOMB_TIME_RATIO = 20
"""How much longer a nesting bomb may take than a harmless body of its size."""
BOMB_BYTES = 3_000_000


@pytest.fixture(scope="module", autouse=True)
def bystander(server: ServerProcess) -> Iterator[Bystander]:
    with undisturbed(server) as good:
        yield good


@pytest.fixture(autouse=True)
def good_client_goes_on(bystander: Bystander) -> Iterator[None]:
    yield
    bystander.check()


def put(server: ServerProcess, kind: str, body: bytes, path: str = "/Sensor/bad") -> Reply:
    return ask(server, "PUT", path, kind, body=body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"value":',
        b"null",
        b"1",
        b'"text"',
        b"[{}, 1]",
        b"{} x",
        b'{"value":NaN}',
        b'{"value":-Infinity}',
        b'{"value":1e999}',
        b'{"x":' + b"9" * 5_000 + b"}",
        b'{"x":' + b"9" * 400 + b"}",
        b'{"site":"\xff"}',
        b'{"\xc0\xaf":1}',
        b'{"site":"\\ud800"}',
        b'\xef\xbb\xbf{"value":1}',
        '{"value":1}'.encode("utf-16"),
        b'{"value":01}',
        b"{'value':1}",
        b'{"value":1,}',
    ],
)
def test_bad_json_gets_400_and_writes_nothing(server: ServerProcess, body: bytes) -> None:
    """PUT, PATCH and POST alike."""
    for method, path in (("PUT", "/Sensor/bad"), ("PATCH", "/Sensor/bad"), ("POST", "/Sensor/")):
        assert_refused(ask(server, method, path, JSON, body=body), 400)
    assert ask(server, "GET", "/Sensor/bad").status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"\xa1",
        b"\xa1\x61x",
        b"\xf6",
        b"\x9b" + b"\xff" * 8,
        b"\xbb\x00\x00\x00\x00\x7f\xff\xff\xff",
        b"\xa1\x61x\x5b\x00\x00\x00\x7f\xff\xff\xff\xff",
        b"\xa1\x64site\x61\xff",
        b"\xa1\x61x\xf7",
        b"\xa1\x61x\xc1\x1b" + b"\xff" * 8,
        b"\xa1\x61x\xc0\x63abc",
        b"\xa1\x61x\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xd8\x1c\xa1\x61x\xd8\x1d\x00",
        cbor2.dumps({"x": float("nan")}),
        cbor2.dumps({"value": float("inf")}),
        cbor2.dumps({1: 2}),
        cbor2.dumps({"x": 2**5_000}),
        cbor2.dumps({}) + b"\x00",
    ],
)
def test_bad_cbor_gets_400(server: ServerProcess, body: bytes) -> None:
    """Among them lengths that promise terabytes, dates that do not exist, shared references."""
    assert_refused(put(server, CBOR, body), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"\x81",
        b"\xc0",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1x\xdb\xff\xff\xff\xff",
        b"\x81\xa1x\xd4\x05\x00",
        b"\x81\xa1x\xd7\xff" + b"\xff" * 8,
        b"\x81\xa1x\xc7\x0c\xff" + b"\xff" * 12,
        b"\x81\xa1x\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\x81\x01\x01",
        b"\x81\xa1x\xa1\xff",
        b"\x81\xa1x\xc8\x01\x00\x01" + b"\x7f" * 256,
    ],
)
def test_bad_messagepack_gets_400(server: ServerProcess, body: bytes) -> None:
    assert_refused(put(server, MSGPACK, body), 400)


BOMBS = {
    "JSON lists": (JSON, b'{"x":' + b"[" * BOMB_BYTES),
    "JSON closed lists": (JSON, b'{"x":' + b"[" * 1_500_000 + b"]" * 1_500_000 + b"}"),
    "JSON objects": (JSON, b'{"a":' * (BOMB_BYTES // 5)),
    "JSON one too deep": (JSON, b'{"x":' + b"[" * 64 + b"]" * 64 + b"}"),
    "CBOR lists": (CBOR, b"\xa1\x61x" + b"\x81" * BOMB_BYTES),
    "CBOR endless lists": (CBOR, b"\xa1\x61x" + b"\x9f" * BOMB_BYTES),
    "CBOR objects": (CBOR, b"\xa1\x61a" * (BOMB_BYTES // 3)),
    "MessagePack lists": (MSGPACK, b"\x81\xa1x" + b"\x91" * BOMB_BYTES),
    "MessagePack objects": (MSGPACK, b"\x81\xa1a" * (BOMB_BYTES // 3)),
}


def seconds(server: ServerProcess, kind: str, body: bytes, status: int) -> float:
    """The quickest of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        reply = put(server, kind, body)
        times.append(time.perf_counter() - begin)
        assert reply.status == status, reply.body[:200]
    return min(times)


@pytest.mark.parametrize("name", BOMBS)
def test_nesting_bomb_is_refused_quickly_and_in_little_memory(
    server: ServerProcess, name: str
) -> None:
    kind, body = BOMBS[name]
    # Read whole, decoded, refused for its one wrong attribute: what a body must cost.
    harmless = b'{"value":"' + b"x" * BOMB_BYTES + b'"}'
    plain = seconds(server, JSON, harmless, 400)
    before = resident_bytes(server)
    assert seconds(server, kind, body, 400) < plain * BOMB_TIME_RATIO
    assert resident_bytes(server) - before < BOMB_MEMORY
    reply = put(server, kind, body)
    # Whichever is found first: how deep they are, or how many.
    expected = b"nested at most 64 deep" in reply.body or b"at most 150000 values" in reply.body
    assert expected, reply.body[:200]
    assert_refused(reply, 400)


def test_sixty_four_levels_are_taken(server: ServerProcess) -> None:
    """The limit is no guess: one level less than what is refused above."""
    body = b'{"x":' + b"[" * 63 + b"]" * 63 + b"}"
    assert put(server, JSON, body, "/Sensor/deep").status == 204
    assert ask(server, "GET", "/Sensor/deep").body == b'{"id":"deep",' + body[1:]


@pytest.mark.parametrize("kind", [JSON, CBOR], ids=["JSON", "CBOR"])
def test_last_of_duplicate_names_counts(server: ServerProcess, kind: str) -> None:
    body = b'{"value":1,"value":2}' if kind == JSON else b"\xa2\x65value\x01\x65value\x02"
    assert put(server, kind, body, "/Sensor/double").status == 204
    assert ask(server, "GET", "/Sensor/double").body == b'{"id":"double","value":2}'


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/Sensor/bad", b'{"value":"x"}', ("value", "number")),
        ("/Sensor/bad", b'{"value":true}', ("value", "number")),
        ("/Sensor/bad", b'{"site":5}', ("site", "string")),
        ("/Sensor/bad", b'{"value":{"__op__":"add","value":1}}', ("value", "number")),
        ("/Counter/1", b'{"n":1.5}', ("n", "integer")),
        ("/Counter/1", b'{"n":99999999999}', ("n", "2147483647")),
        ("/Sealed/x", b"{}", ("name", "required")),
        ("/Sealed/x", b'{"name":null}', ("name", "required")),
        ("/Sealed/x", b'{"naam":1}', ("name is required", "naam is not allowed")),
    ],
)
def test_wrong_type_is_named_with_its_property(
    server: ServerProcess, path: str, body: bytes, words: tuple[str, ...]
) -> None:
    assert_refused(put(server, JSON, body, path), 400, "Property", *words)


def test_wrong_increment_is_named_with_its_property(server: ServerProcess) -> None:
    body = b'{"value":{"__op__":"add","value":"x"}}'
    assert_refused(ask(server, "PATCH", "/Sensor/i", JSON, body=body), 400, "Property value")


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("limit(x)", 400, "limit"),
        ("limit(-1)", 400, "limit"),
        ("limit(5,2)", 400, "limit"),
        ("limit(99999999999999999999)", 400, "limit"),
        ("select()", 400, "select"),
        ("sort(value)", 404, "value is not indexed"),
        ("sort()", 400, "sort"),
        ("nonsense(value)", 400, "nonsense"),
        ("value=zz=3", 400, "zz"),
        ("value==abc", 400, "value"),
        ("value==NaN", 400, "value"),
        ("value==" + "9" * 5_000, 400, "value"),
        ("value", 400, "condition"),
        ("(" * 3_000, 400, "nests"),
        ("[" * 3_000, 400, "nests"),
        ("(value=1", 400, "not closed"),
        ("value=1|value=2&value=3", 400, ""),
        ("site=%ff", 400, "UTF-8"),
    ],
)
def test_bad_query_gets_a_sentence(
    server: ServerProcess, query: str, status: int, word: str
) -> None:
    assert_refused(ask(server, "GET", f"/Sensor/?{query}"), status, word)


def test_unknown_attribute_of_a_sealed_table_gets_404(server: ServerProcess) -> None:
    for query in ("nope=1", "select(nope)"):
        assert_refused(ask(server, "GET", f"/Sealed/?{query}"), 404, "nope")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("If-Match: abc", 400),
        ('If-Match: "', 400),
        ("If-Match: \xff", 400),
        ('If-Match: W/"x"', 412),
        ("If-Match: " + '"a",' * 3_000 + '"b"', 412),
        ("If-None-Match: *", 412),
        ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ],
)
def test_bad_or_failing_preconditions_write_nothing(
    server: ServerProcess, line: str, status: int
) -> None:
    assert put(server, JSON, b'{"value":1}', "/Sensor/cond").status == 204
    for method in ("PUT", "PATCH", "DELETE"):
        body = b"" if method == "DELETE" else b'{"value":2}'
        assert_refused(ask(server, method, "/Sensor/cond", line, body=body), status)
    assert ask(server, "GET", "/Sensor/cond").body == b'{"id":"cond","value":1}'


@pytest.mark.parametrize(
    "date",
    [
        "yesterday",
        "Thu, 99 Jan 99999 00:00:00 GMT",
        "Thu, 01 Jan 2026 99999999999999999999:00:00 GMT",
        "Thu, 01 Jan 2026 00:00:00 +99999999999",
    ],
)
def test_date_that_is_none_is_ignored(server: ServerProcess, date: str) -> None:
    """RFC 9110 §13.1.4."""
    line = f"If-Unmodified-Since: {date}"
    assert ask(server, "PUT", "/Sensor/date", line, body=b'{"value":1}').status == 204


@pytest.mark.parametrize(
    "token", ["x", "1.2.3", "ab.-1", "ab." + "9" * 30, "../../etc", "ab.1~3.!!", "ab.1~99999.", "é"]
)
def test_bad_last_event_id_gets_current_state_and_a_mark(server: ServerProcess, token: str) -> None:
    """A 400 would end an EventSource for ever."""
    put(server, JSON, b'{"value":1}', "/Sensor/last")
    with sse(server, f"/Sensor/last?lastEventId={token}") as stream:
        events = stream.until_ready()
    assert [event.event for event in events] == ["reset", "message"]
    assert events[1].envelope["current"] is True


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Authorization: Basic !!!", 400),
        ("Authorization: Basic " + "A" * 4_000, 400),
        ("Authorization: Bearer x", 401),
        ("Authorization: Basic YWRtaW46d3Jvbmc=", 401),
        ("X: y", 401),
    ],
)
def test_bad_credentials_write_nothing(server: ServerProcess, line: str, status: int) -> None:
    with raw_http(server) as connection:
        body = b'{"value":1}'
        connection.send(request("PUT", "/Sensor/stranger", line, body=body, login=False))
        reply = connection.reply()
    assert reply.status == status
    assert_clean(reply)
    assert ask(server, "GET", "/Sensor/stranger").status == 404


def test_unusual_content_types_come_back_as_they_came(server: ServerProcess) -> None:
    """Nonsense in the header neither breaks the answer nor reaches a reader as a header."""
    for kind in ("text/plain; charset=nope", "x/y;;\xff\xfe", "odd/" + "a" * 5_000):
        line = f"Content-Type: {kind}"
        assert ask(server, "PUT", "/Sensor/odd", line, body=b"<bytes>").status == 204
        reply = ask(server, "GET", "/Sensor/odd")
        assert (reply.status, reply.body) == (200, b"<bytes>")
        assert reply.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("kind", [";", "\xff\xfe", "a" * 5_000])
def test_what_is_no_content_type_writes_nothing(server: ServerProcess, kind: str) -> None:
    """Else a record with a slip of the pen in its header would be kept as mere bytes."""
    reply = ask(server, "PUT", "/Sensor/slip", f"Content-Type: {kind}", body=b'{"value": 1}')
    assert (reply.status, b"InvalidHeader" in reply.body) == (400, True)
    assert_clean(reply)
    assert ask(server, "GET", "/Sensor/slip").status == 404


def test_errors_come_as_problem_details_when_asked_for(server: ServerProcess) -> None:
    accept = "Accept: application/problem+json"
    reply = ask(server, "PUT", "/Sensor/bad", JSON, accept, body=b"{")
    assert reply.headers["content-type"] == "application/problem+json"
    assert b'"code":"INVALID_BODY"' in reply.body
    assert_clean(reply)
