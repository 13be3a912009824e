"""Requests that reach every status that the OpenAPI document promises, made by hand.

Each probe is a request for one operation and what it has to be answered with; what is
the same for all operations (a header too many, a login that is missing) is made for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NOBODY = ("nobody", "nothing but a login")
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
PICTURE = {"Content-Type": "image/png"}
PARTS = {"Content-Type": "multipart/form-data; boundary=x"}
ABSENT, STAYS, GOES = "is-absent", "stays", "goes"
"""Identifiers of MQTT clients; the latter two are connected."""
METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace", "x-query")


@dataclass(frozen=True)
class Probe:
    """One request.

    Attributes:
        status: What it has to be answered with.
        path: With its query.
        headers: Besides those of the login.
        body: Of the request.
        login: ``admin``, ``nobody`` (who has no rights) or ``wrong``; ``""`` for none.
    """

    status: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    login: str = "admin"


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    path: str
    method: str
    described: Mapping[str, Any]

    @property
    def id(self) -> str:
        found = self.described["operationId"]
        assert isinstance(found, str)
        return found

    @property
    def kind(self) -> str:
        """Of the target: ``record``, ``collection``; the server's own by their name."""
        return self.id.split(".")[-2]

    @property
    def wire_method(self) -> str:
        return self.method.removeprefix("x-").upper()

    @property
    def statuses(self) -> frozenset[int]:
        return frozenset(map(int, self.described["responses"]))

    @property
    def needs_login(self) -> bool:
        return 401 in self.statuses


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """All operations, QUERY among them."""
    return [
        Operation(path, method, described)
        for path, item in document["paths"].items()
        for method, described in item.items()
        if method in METHODS
    ]


@dataclass(frozen=True)
class World:
    """What there is on the server, for one table.

    Attributes:
        there: A key that is there and stays.
        spare: Makes a key that nothing else uses.
        tag: The entity tag of ``there``.
        attribute: That can be set, and a value for it.
        value: As JSON.
        fixed: An attribute that cannot be set.
        whole: A body of a record that it takes, without a key, as JSON.
        missing: A query with an attribute that is not known, or cannot be sorted by.
    """

    there: str
    spare: Callable[[], str]
    tag: str
    attribute: str
    value: bytes
    fixed: str
    whole: bytes
    missing: str


def probes(operation: Operation, world: World | None) -> Iterator[Probe]:
    """The requests for one operation, besides those that no handler sees."""
    path = concrete(operation, world)
    if operation.needs_login and operation.path not in ("/$session", "/$token"):
        yield Probe(401, path, login="")
        yield Probe(403, path, _typed(operation), login="nobody")
    if 406 in operation.statuses:
        body = _fitting_body(operation, world)
        yield Probe(406, path, {"Accept": "text/html", **_typed(operation)}, body)
    if operation.method in ("options", "trace"):
        yield Probe(204 if operation.method == "options" else 200, path, login="")
        if 404 in operation.statuses:
            yield Probe(404, path.replace(_key(world), "x"), login="")
        return
    yield from _OF_KIND[operation.kind](operation, world, path)


def concrete(operation: Operation, world: World | None) -> str:
    """The path of an operation with a record that is there."""
    if world is None:
        return operation.path.replace("{client}", ABSENT)
    path = operation.path.replace("{id}", world.there).replace("{prefix}", "hall")
    return path.replace("{property}", world.attribute)


def _key(world: World | None) -> str:
    assert world is not None, "only tables have keys"
    return world.there


def _typed(operation: Operation) -> dict[str, str]:
    return dict(JSON) if "requestBody" in operation.described else {}


def _fitting_body(operation: Operation, world: World | None) -> bytes:
    if "requestBody" not in operation.described or world is None:
        return b""
    return b"{}" if operation.kind != "property" else world.value


def _table(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    yield Probe(200, path)


def _collection(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    assert world is not None
    tag = {"If-Match": '"0000000000"'}
    if 404 in operation.statuses:
        if operation.method == "x-query":
            yield Probe(404, path, TEXT, world.missing.encode())
        else:
            yield Probe(404, f"{path}?{world.missing}")
    match operation.method:
        case "get" | "head":
            yield Probe(200, path)
        case "x-query":
            yield Probe(200, path, TEXT, b"limit(1)")
            yield Probe(415, path, PICTURE, b"x")
        case "delete":
            yield Probe(200, f"{path}?limit(0)")
            yield Probe(412, path, tag)
        case "post":
            yield Probe(201, path, JSON, world.whole)
            yield Probe(201, path, JSON, b"[" + world.whole + b"]")
            yield Probe(409, path, JSON, _with_key(world, world.there))
            yield Probe(412, path, {**JSON, **tag}, world.whole)
            yield Probe(415, path, PICTURE, b"x")
        case "put":
            yield Probe(204, path, JSON, b"[" + _with_key(world, world.spare()) + b"]")
            yield Probe(412, path, {**JSON, **tag}, b"[]")
            yield Probe(415, path, PICTURE, b"x")


def _with_key(world: World, key: str) -> bytes:
    name = key if key.isdigit() else f'"{key}"'
    return b'{"id": %b, ' % name.encode() + world.whole.lstrip(b"{")


def _record(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    assert world is not None
    base = path.rpartition("/")[0]
    spare = f"{base}/{world.spare()}"
    absent = {"If-None-Match": "*"}
    if operation.method in ("get", "head"):
        yield Probe(200, path)
        yield Probe(304, path, {"If-None-Match": world.tag})
        yield Probe(404, spare)
        return
    if 404 in operation.statuses:
        yield Probe(404, f"{base}/x", JSON if operation.method != "delete" else {}, world.whole)
    if operation.method == "delete":
        yield Probe(200, spare)
        yield Probe(412, path, {"If-Match": '"0000000000"'})
        return
    yield Probe(204, spare, JSON, world.whole)
    yield Probe(412, path, {**JSON, **absent}, world.whole)
    yield Probe(415, path, PARTS, b"x")


def _property(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    assert world is not None
    spare = path.replace(f"/{world.there}.", f"/{world.spare()}.")
    match operation.method:
        case "get" | "head":
            yield Probe(200, path)
            yield Probe(304, path, {"If-None-Match": world.tag})
            yield Probe(404, spare)
            return
        case "put":
            yield Probe(404, spare, JSON, world.value)
            yield Probe(415, path, PARTS, b"x")
            yield Probe(204, path, {**JSON, "If-Match": "*"}, world.value)
        case "delete":
            if 404 in operation.statuses:
                yield Probe(404, path.replace(f"/{world.there}.", "/x."))
            yield Probe(200, spare)
    yield Probe(405, path.removesuffix(world.attribute) + world.fixed, JSON, world.value)
    yield Probe(412, path, {**JSON, "If-Match": '"0000000000"'}, world.value)


def _server(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    yield Probe(200, path)


def _session(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    if operation.method == "delete":
        yield Probe(204, path)
    else:
        yield Probe(200, path)
        yield Probe(401, path, login="wrong")
    if 403 in operation.statuses:
        yield Probe(403, path, foreign)


def _client(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    yield Probe(404, path)
    one = GOES if operation.method == "delete" else STAYS
    yield Probe(200, path.replace(ABSENT, one))


def _retained(operation: Operation, world: World | None, path: str) -> Iterator[Probe]:
    yield Probe(200, f"{path}?filter=nothing/%23")


_OF_KIND: dict[str, Callable[[Operation, World | None, str], Iterator[Probe]]] = {
    "table": _table,
    "collection": _collection,
    "part": _collection,
    "record": _record,
    "property": _property,
    "health": _server,
    "openapi": _server,
    "session": _session,
    "clients": _server,
    "client": _client,
    "retained": _retained,
    "token": _session,
}
