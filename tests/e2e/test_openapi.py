"""What the OpenAPI document promises is what a real server does.

Requests are made up from the document, right ones and wrong ones: no answer may be a
fault, have a status that is not in it, or a body or header that is not as it says. What
chance does not reach is asked for by hand: in the end every status of every operation
has been seen.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.openapi_probes import (
    ABSENT,
    GOES,
    NOBODY,
    STAYS,
    Operation,
    Probe,
    World,
    operations,
    probes,
)
from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server
from tests.server.process import environment

SCHEMA = '''
"""A place where something is measured."""
type Sensor @table @export {
  id: ID @primaryKey
  value: Float @indexed
  site: String
  tags: [String]
  changed: Date @updatedTime
}
type Counter @table @export { id: Int @primaryKey  n: Int  made: Float @createdTime }
type Address { street: String!  city: String }
type Brand @table @export @sealed {
  id: ID @primaryKey
  name: String!
  size: Long
  huge: BigInt
  yes: Boolean
  day: Date
  where: Address
  raw: Bytes
  made: Float @createdTime
}
'''
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 10
SECONDS = 45.0
"""For what is made up; each operation has its first examples anyhow."""
UNREACHED = {
    ("Sensor.collection.delete", 409),
    ("Sensor.part.delete", 409),
    ("Counter.collection.delete", 409),
    ("Brand.collection.delete", 409),
    ("Brand.part.delete", 409),
}
"""A DELETE by query runs again when others write what it found; that they do so each time
is a race that its own tests arrange in the process."""


@dataclass
class Promised:
    """The document, the server that it is of, and what was seen of it.

    Attributes:
        server: Where it comes from.
        document: As served.
        operations: All of it, by id.
        seen: Statuses by operation.
    """

    server: ServerProcess
    document: Mapping[str, Any]
    operations: Mapping[str, Operation]
    seen: dict[str, set[int]] = field(default_factory=dict)

    def note(self, operation: str, status: int) -> None:
        self.seen.setdefault(operation, set()).add(status)


@contextmanager
def promised_by_a_server() -> Iterator[Promised]:
    """A server with no limit on wrong passwords, and a user without rights."""
    quiet = {"LYREDB_AUTHENTICATION_MAX_ATTEMPTS": "0"}
    with running_server(SCHEMA, environment=quiet) as server:
        lyredb("role", "set", "idle", "--data", str(server.data))
        name, password = NOBODY
        lyredb("user", "add", name, "--role", "idle", "--data", str(server.data), stdin=password)
        document = requests.get(f"{server.http}/openapi", auth=(USER, PASSWORD), timeout=10).json()
        found = {one.id: one for one in operations(document)}
        yield Promised(server, document, found)


def lyredb(*arguments: str, stdin: str = "") -> None:
    command = [sys.executable, "-m", "lyredb", *arguments]
    subprocess.run(command, input=f"{stdin}\n", text=True, check=True, env=environment())


def assert_made_up_requests_are_answered_as_described(promised: Promised) -> None:
    """Right and wrong ones for every operation that OpenAPI 3.0 can name."""
    schema = schemathesis.openapi.from_dict(dict(promised.document))
    until = time.monotonic() + SECONDS
    asked, broken = 0, []
    with requests.Session() as session:
        session.auth = (USER, PASSWORD)
        for operation in all_described(schema):
            for mode in GenerationMode:
                try:
                    asked += ask(promised, session, operation, mode, until)
                except (FailureGroup, Failure) as failure:
                    notes = getattr(failure, "__notes__", [])
                    broken.append("\n".join((operation.label, told(failure), *notes)))
    assert not broken, "\n\n".join(broken)
    assert asked >= 2 * len(promised.operations)


def all_described(schema: Any) -> list[Any]:
    """What schemathesis makes of the document's operations; all of them."""
    return [found.ok() for found in schema.get_all_operations()]


def told(failure: FailureGroup | Failure) -> str:
    """A failure with all of its parts."""
    parts = failure.exceptions if isinstance(failure, FailureGroup) else (failure,)
    return "\n".join(str(part) for part in parts)


def ask(
    promised: Promised,
    session: requests.Session,
    operation: Any,
    mode: GenerationMode,
    until: float,
) -> int:
    """Make requests up for one operation; returns how many."""
    count = 0
    operation_id = operation.definition.raw["operationId"]

    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        nonlocal count
        if count and time.monotonic() > until:
            return
        response = case.call(base_url=promised.server.http, session=session, timeout=10)
        try:
            case.validate_response(response, checks=CHECKS)
        except (FailureGroup, Failure) as failure:
            failure.add_note(f"{response.request.url} {response.request.body!r} {response.text}")
            raise
        promised.note(operation_id, response.status_code)
        count += 1

    with suppress(Unsatisfiable):  # nothing about it can be wrong
        one()
    return count


def worlds(promised: Promised) -> dict[str, World]:
    """Records that stay where they are, by table."""
    numbers = itertools.count(1000)
    base = promised.server.http
    rows = {
        "Sensor": (
            "stays",
            "value",
            b"1.5",
            "changed",
            b'{"value": 2}',
            "site=x&allowFullScan(false)",
        ),
        "Counter": ("7", "n", b"3", "made", b'{"n": 2}', "sort(made)"),
        "Brand": ("stays", "size", b"4", "made", b'{"name": "y"}', "nothing=1"),
    }
    found = {}
    for table, (key, attribute, value, fixed, whole, missing) in rows.items():
        address = f"{base}/{table}/{key}"
        body = b'{"name": "x", "%b": %b}' % (attribute.encode(), value)
        made = requests.put(
            address, body, headers={"Content-Type": "application/json"}, auth=(USER, PASSWORD)
        )
        assert made.status_code == 204, made.text
        tag = requests.get(address, auth=(USER, PASSWORD), timeout=10).headers["etag"]
        prefix = "" if table == "Counter" else "spare"
        spare = lambda prefix=prefix: f"{prefix}{next(numbers)}"  # noqa: E731
        found[table] = World(key, spare, tag, attribute, value, fixed, whole, missing)
    return found


LOGINS = {"admin": (USER, PASSWORD), "nobody": NOBODY, "wrong": (USER, "wrong"), "": None}


def assert_requests_made_by_hand_are_answered_as_described(promised: Promised) -> None:
    """Those that chance does not make: conditions, types, rights, what is there already."""
    schema = schemathesis.openapi.from_dict(dict(promised.document))
    described = {one.definition.raw["operationId"]: one for one in all_described(schema)}
    wrong = []
    there = worlds(promised)
    for operation in promised.operations.values():
        for probe in probes(operation, there.get(operation.path.split("/")[1])):
            reply = send(promised.server, operation, probe)
            promised.note(operation.id, reply.status_code)
            if reply.status_code != probe.status:
                wrong.append(f"{operation.id}: {probe} got {reply.status_code} {reply.text[:200]}")
            elif operation.id in described:
                described[operation.id].validate_response(reply)
    assert not wrong, "\n".join(wrong)


def send(server: ServerProcess, operation: Operation, probe: Probe) -> requests.Response:
    return requests.request(
        operation.wire_method,
        server.http + probe.path,
        data=probe.body or None,
        headers=dict(probe.headers),
        auth=LOGINS[probe.login],
        timeout=10,
        allow_redirects=False,
    )


CONNECTIONS = 150
"""More than there are operations: each has one of its own while it waits to be too late."""
TIGHT = {
    "LYREDB_THREADS_COUNT": "1",  # each worker counts wrong passwords and connections alone
    "LYREDB_HTTP_TIMEOUT": "0.5s",
    "LYREDB_HTTP_HEADERS_TIMEOUT": "20s",
    "LYREDB_HTTP_MAX_CONNECTIONS": str(CONNECTIONS),
    "LYREDB_AUTHENTICATION_MAX_ATTEMPTS": "2",
    "LYREDB_AUTHENTICATION_ATTEMPT_WAIT": "300s",
    "LYREDB_AUTHENTICATION_MAX_ATTEMPT_WAIT": "300s",
}


def assert_limits_of_the_connection_are_told_as_described(promised: Promised) -> None:
    """What no handler sees: 400, 408, 413, 431, 503; and 429 after wrong passwords."""
    with running_server(SCHEMA, environment=TIGHT) as server:
        everything = list(promised.operations.values())
        heads = {
            400: b"",
            408: b"host: x\r\ncontent-length: 5\r\n",
            413: b"host: x\r\ncontent-length: 999999999999\r\n",
            431: b"host: x\r\nx: " + b"x" * 20_000 + b"\r\n",
        }
        for status, head in heads.items():
            assert_all_answered(promised, server, everything, status, head)
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(connected(server))
            assert_all_answered(promised, server, everything, 503, b"host: x\r\n")
        for _ in range(3):
            requests.get(f"{server.http}/Sensor/", auth=(USER, "wrong"), timeout=10)
        login = b"host: x\r\nauthorization: Basic YWRtaW46d3Jvbmc=\r\n"
        limited = [one for one in everything if 429 in one.statuses]
        assert_all_answered(promised, server, limited, 429, login)


def assert_all_answered(
    promised: Promised,
    server: ServerProcess,
    asked: list[Operation],
    status: int,
    head: bytes,
) -> None:
    """Ask for all of these at once, with the same head."""
    with ExitStack() as stack:
        waiting = []
        for operation in asked:
            connection = stack.enter_context(connected(server))
            path = operation.path.replace("{id}", "7").replace("{property}", "n")
            path = path.replace("{client}", ABSENT)
            line = f"{operation.wire_method} {path.replace('{prefix}', 'p')} HTTP/1.1\r\n"
            with suppress(BrokenPipeError, ConnectionResetError):  # it says why before it closes
                connection.sendall(line.encode() + head + b"\r\n")
            waiting.append((operation, connection))
        for operation, connection in waiting:
            answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 %d " % status), (operation.id, answer[:200])
            promised.note(operation.id, status)


@contextmanager
def connected(server: ServerProcess) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", server.http_port), timeout=10)) as one:
        yield one


def assert_every_status_was_reached(promised: Promised) -> None:
    """A document that promises more than there is fails here."""
    missing = {
        (operation.id, status)
        for operation in promised.operations.values()
        for status in operation.statuses - promised.seen.get(operation.id, set())
    }
    undocumented = {
        (name, status)
        for name, statuses in promised.seen.items()
        for status in statuses - promised.operations[name].statuses
    }
    assert (missing, undocumented) == (UNREACHED, set())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_server_does_what_its_document_promises_and_all_of_it() -> None:
    """One test, since what was seen by the parts is counted together in the end."""
    with promised_by_a_server() as promised:
        assert_made_up_requests_are_answered_as_described(promised)
        with RawMqtt(promised.server) as stays, RawMqtt(promised.server) as goes:
            stays.log_in(STAYS)
            goes.log_in(GOES)
            assert_requests_made_by_hand_are_answered_as_described(promised)
        assert_limits_of_the_connection_are_told_as_described(promised)
        assert_every_status_was_reached(promised)
