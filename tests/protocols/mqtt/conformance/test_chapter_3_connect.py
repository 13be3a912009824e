"""Chapter 3.1, 3.2 and 3.14: CONNECT, CONNACK and DISCONNECT."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest

from lyredb.protocols.mqtt import handshake
from lyredb.protocols.mqtt.decode import decode_connect
from lyredb.protocols.mqtt.errors import ANSWERS
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.reasons import Reason
from lyredb.protocols.mqtt.service import assigned_client_id
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.conformance.packets import (
    CONNACK,
    DISCONNECT,
    MALFORMED,
    PINGRESP,
    PUBACK,
    SUBACK,
    both_versions,
    messages,
    payloads,
    reader,
)
from tests.protocols.mqtt.durable_world import LASTS, World, on_world
from tests.protocols.mqtt.harness import Harness, Peer, run

CONNACK_TABLE = {
    *(0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C),
    *(0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F),
}
"""Table 3-1."""

DISCONNECT_TABLE = {
    *(0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90),
    *range(0x93, 0xA3),
}
"""Table 3-10, of those that a server sends."""

LARGEST = 0x27


def lasting(version: int) -> bytes:
    return LASTS if version == 5 else b""


async def enter(world: World, version: int, *, clean: bool) -> tuple[Peer, Received]:
    return await world.connect("c", version, props=lasting(version), clean=clean)


def assert_refused(peer: Peer, reason: int) -> None:
    """v5 heard why; 3.1.1 has no return code for it and was closed."""
    answers = [(one.kind, one.reason) for one in peer.take()]
    assert answers == ([(CONNACK, reason)] if peer.version == 5 else [])
    assert peer.is_closed


def custom(version: int, flags: int, *fields: bytes) -> bytes:
    """A CONNECT with these flags, and these fields behind the client identifier ``c``."""
    empty = client.properties(b"", version)
    head = client.text("MQTT") + bytes([version, flags]) + b"\x00\x00" + empty
    return client.packet(0x10, head + b"".join(fields))


@both_versions
def test_a_session_is_taken_up_where_it_was_or_begun(version: int) -> None:
    """[MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.2.2-3]; 3.1.1 [MQTT-3.1.2-4]."""

    async def body(world: World) -> None:
        peer, connack = await enter(world, version, clean=False)
        assert connack.body[0] == 0, "there was none"
        await world.subscribe(peer, ("open/#", 2), version=version)
        await world.sleep(peer)
        await world.publish("open/a", b"1")
        await world.publish("open/a", b"2", qos=2)
        peer, connack = await enter(world, version, clean=False)
        assert connack.body[0] == 1, "it is there, and no other bit is set"
        found = await world.packets(peer, 2)
        assert [(one.payload, one.qos) for one in found] == [(b"1", 1), (b"2", 2)]
        _, connack = await world.connect("other", version, props=lasting(version))
        assert connack.body[0] == 0, "it is of its client identifier"

    on_world(body)


@both_versions
def test_a_clean_start_forgets_and_leaves_nothing(version: int) -> None:
    """[MQTT-3.1.2-4] [MQTT-3.2.2-2]; 3.1.1 [MQTT-3.1.2-6] [MQTT-3.2.2-1]."""

    async def body(world: World) -> None:
        peer, _ = await enter(world, version, clean=False)
        await world.subscribe(peer, ("open/#", 1), version=version)
        await world.sleep(peer)
        await world.publish("open/a", b"missed")
        peer, connack = await world.connect("c", version, props=b"", clean=True)
        assert connack.body[0] == 0
        await world.publish("open/a", b"not subscribed any more")
        await world.nothing_more(peer)
        await world.subscribe(peer, ("open/b", 1), version=version)
        await world.sleep(peer)
        await world.publish("open/b", b"of the clean session")
        peer, connack = await enter(world, version, clean=False)
        assert connack.body[0] == 0
        await world.nothing_more(peer)

    on_world(body)


@both_versions
def test_a_refusal_tells_of_no_session(version: int) -> None:
    """[MQTT-3.2.2-6]; 3.1.1 [MQTT-3.2.2-4]: though there is one."""

    async def body(world: World) -> None:
        peer, _ = await enter(world, version, clean=False)
        await world.sleep(peer)
        refused = world.harness.peer(version, account=None)
        refused.send(client.connect(version, "c", clean=False, username="alice", password=b"wrong"))
        (connack,) = await world.packets(refused, 1)
        assert connack.body[:2] == bytes([0, 0x86 if version == 5 else 4])

    on_world(body)


@both_versions
@pytest.mark.parametrize(
    "flags",
    [0x03, 0x1E, 0x0A, 0x12, 0x22, 0x3A],
    ids=["reserved", "Will QoS 3", "QoS 1", "QoS 2", "RETAIN", "all of a will"],
)
def test_connect_flags_that_contradict_each_other_are_refused(version: int, flags: int) -> None:
    """[MQTT-3.1.2-3] [MQTT-3.1.2-11] to [MQTT-3.1.2-13]; 3.1.1 [MQTT-3.1.2-11] to -15."""

    async def body() -> None:
        peer = Harness().peer(version)
        empty = client.properties(b"", version)
        will = empty + client.text("open/a") + client.text("x") if flags & 4 else b""
        peer.send(custom(version, flags, client.text("c"), will))
        assert_refused(peer, MALFORMED)

    run(body)


@both_versions
@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (0x02, []),
        (0x06, ["c"]),
        (0x06, ["c", None, "open/a"]),
        (0x82, ["c"]),
        (0xC2, ["c", "user"]),
        (0x02, ["c", "one too many"]),
        (0x06, ["c", None, "open/a", "x", "one too many"]),
        (0x82, ["c", "user", "one too many"]),
        (0xC2, ["c", "user", "password", "one too many"]),
    ],
)
def test_fields_of_a_connect_are_there_as_its_flags_say(
    version: int, flags: int, fields: list[str | None]
) -> None:
    """[MQTT-3.1.2-9] [MQTT-3.1.2-16] to -19 [MQTT-3.1.3-3]; 3.1.1 [MQTT-3.1.2-9] to -21."""

    async def body() -> None:
        peer = Harness().peer(version)
        empty = client.properties(b"", version)  # where None stands: those of the will
        peer.send(custom(version, flags, *[empty if f is None else client.text(f) for f in fields]))
        assert_refused(peer, MALFORMED)

    run(body)


@both_versions
def test_without_a_will_nothing_is_published(version: int) -> None:
    """3.1.1 [MQTT-3.1.2-12]."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, version, "#")
        harness.connected(version, "gone").lose()
        await harness.tick()
        assert messages(watcher) == []
        assert harness.database.waiting == []

    run(body)


@both_versions
@pytest.mark.parametrize("retained", [False, True])
def test_a_will_is_retained_if_it_asks_for_it(version: int, retained: bool) -> None:
    """[MQTT-3.1.2-14] [MQTT-3.1.2-15]; 3.1.1 [MQTT-3.1.2-16] [MQTT-3.1.2-17]."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, version)
        harness.connected(version, "gone", will=("open/a", b"x"), will_retain=retained).lose()
        await harness.tick()
        harness.database.commit()
        assert harness.database.records == ({"open/a": b"x"} if retained else {})
        assert payloads(watcher) == ([] if retained else [b"x"]), "a record is told by the log"

    run(body)


def test_properties_of_a_will_go_on_in_their_order() -> None:
    """[MQTT-3.1.3-10]; the delay is not one of the message."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, 5)
        pairs = [(b"b", b"1"), (b"a", b"2"), (b"b", b"0")]
        props = b"".join(b"\x26" + client.text(name) + client.text(value) for name, value in pairs)
        props += b"\x08" + client.text("re/ply")
        gone = harness.connected(
            5, "gone", will=("open/a", b"x"), will_properties=b"\x18\x00\x00\x00\x00" + props
        )
        gone.lose()
        await harness.tick()
        (message,) = messages(watcher)
        assert message.properties == props

    run(body)


@both_versions
def test_identifiers_of_letters_and_digits_are_taken(version: int) -> None:
    """[MQTT-3.1.3-5]: each of the 62, and every length up to 23."""

    async def body() -> None:
        harness = Harness()
        letters = string.digits + string.ascii_letters
        for size in range(1, 24):
            harness.connected(version, letters[:size]).lose()
        for start in range(0, len(letters), 23):
            harness.connected(version, letters[start : start + 23]).lose()

    run(body)


@both_versions
def test_clients_without_an_identifier_get_one_each(version: int) -> None:
    """[MQTT-3.1.3-6] [MQTT-3.2.2-16]: by what makes them in a server; none ends another."""

    async def body() -> None:
        harness = Harness()
        harness.service.new_client_id = assigned_client_id
        peers = [harness.connected(version, "") for _ in range(50)]
        assert not any(peer.is_closed for peer in peers)
        found = {peer.connection.session.terms.client_id for peer in peers}  # type: ignore[union-attr]  # connected
        assert len(found) == 50

    run(body)


@both_versions
def test_a_refused_identifier_has_the_code_of_its_version(version: int) -> None:
    """[MQTT-3.1.3-8]; 3.1.1 [MQTT-3.1.3-9] [MQTT-3.2.2-5]: another user has it."""

    async def body() -> None:
        harness = Harness()
        harness.connected(version)
        peer = harness.peer(version, account=None)
        peer.send(client.connect(version, username="alice", password=b"right"))
        await harness.tick()
        (connack,) = peer.take()
        assert (connack.kind, connack.reason) == (CONNACK, 0x85 if version == 5 else 2)
        assert peer.is_closed

    run(body)


@both_versions
def test_the_first_packet_is_a_connack_and_there_is_one(version: int) -> None:
    """[MQTT-3.2.0-1] [MQTT-3.2.0-2] [MQTT-3.2.2-1] [MQTT-3.1.4-5], whatever comes at once."""

    async def body() -> None:
        harness = Harness()
        harness.database.records = {"open/a": b"kept"}
        peer = harness.peer(version)
        peer.send(
            client.connect(version),
            client.subscribe("open/a", version=version),
            client.publish("open/b", version=version, qos=1),
            client.PINGREQ,
        )
        await harness.tick()
        first, *rest = peer.take()
        assert (first.kind, first.body[:2]) == (CONNACK, b"\x00\x00")
        assert {one.kind for one in rest} == {SUBACK, 3, PUBACK, PINGRESP}

    run(body)


@both_versions
@pytest.mark.parametrize("wrong", ["will", "password"])
def test_what_follows_a_refused_connect_has_no_effect(version: int, wrong: str) -> None:
    """[MQTT-3.1.4-6]; 3.1.1 [MQTT-3.1.4-5]: refused at once, and after a check that takes time."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, version)
        peer = harness.peer(version, account=None)
        connect = (
            client.connect(version, will=("nowhere/a", b""), username="alice", password=b"right")
            if wrong == "will"
            else client.connect(version, username="alice", password=b"wrong")
        )
        peer.send(
            connect,
            client.publish("open/a", b"x", version=version),
            client.publish("open/a", b"x", version=version, qos=1, retain=True),
            client.subscribe("open/a", version=version),
        )
        await harness.tick()
        assert peer.is_closed
        assert [one.kind for one in peer.take()] in ([CONNACK], [])
        assert messages(watcher) == []
        assert harness.database.waiting == []
        assert len(harness.database.subscriptions) == 1

    run(body)


@pytest.mark.parametrize("asked", [b"", b"\x19\x00", b"\x19\x01"])
def test_there_is_no_response_information(asked: bytes) -> None:
    """[MQTT-3.1.2-28]: its property is 0x1A; none begins with that, and none contains it."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(5)
        peer.send(client.connect(5, props=asked))
        (connack,) = peer.take()
        assert 0x1A not in connack.properties

    run(body)


def test_reasons_of_a_connack_are_those_of_the_table() -> None:
    """[MQTT-3.2.2-8] [MQTT-3.14.2-1]: of every error, whichever packet tells it."""
    for answer in ANSWERS.values():
        if answer.end not in CONNACK_TABLE:
            assert answer.end in DISCONNECT_TABLE
        if answer.end not in DISCONNECT_TABLE:
            assert answer.end in CONNACK_TABLE

    async def body() -> None:
        wrong = [
            client.connect(5, level=6),
            client.connect(5, level=7),
            client.connect(5, flags=0x03),
            client.connect(5, props=b"\x21\x00\x00"),
            client.connect(5, props=b"\x16\x00\x01x"),
            client.connect(5, props=b"\x15" + client.text("SCRAM")),
            client.connect(5, will=("open/#", b"")),
            client.connect(5, will=("", b"")),
            client.connect(5, will=("nowhere/a", b"")),
            client.connect(5, will=("a/" * 200, b"")),
            client.connect(5, will=("open/a", bytes(65_535))),
            client.connect(5, will=("open/a", b"\xff"), will_properties=b"\x01\x01"),
            client.connect(5, props=(b"\x26" + client.text("k") + client.text("v")) * 1_001),
        ]
        for frame in wrong:
            peer = Harness(max_will_bytes=1_000).peer(5)
            peer.send(frame)
            (connack,) = peer.take()
            assert connack.reason >= 0x80
            assert connack.reason in CONNACK_TABLE, frame[:60]

    run(body)


def largest(size: int) -> bytes:
    return bytes([LARGEST]) + size.to_bytes(4, "big")


@pytest.mark.parametrize("size", [1, 4, 5, 10, 30, 60, 200])
def test_a_connack_is_no_larger_than_the_client_takes(size: int) -> None:
    """[MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.14.0-1]: accepted or refused, and no DISCONNECT.

    Where the CONNACK has no room the connection is closed.
    """

    async def body() -> None:
        harness = Harness()
        accepted = harness.peer(5)
        accepted.send(client.connect(5, "a", props=largest(size)))
        refused, early = harness.peer(5), harness.peer(5)
        refused.send(client.connect(5, will=("nowhere/a", b""), props=largest(size)))
        early.send(client.connect(5, will=("open/#", b""), props=largest(size)))
        method = b"\x15" + client.text("SCRAM")
        unknown = harness.peer(5)
        unknown.send(client.connect(5, props=largest(size) + method))
        for peer in (accepted, refused, early, unknown):
            found = peer.take()
            assert len(peer.transport.data) <= size
            assert [one.kind for one in found] in ([CONNACK], [])
            assert peer.is_closed or found[0].reason == 0
        if size >= 5:
            assert early.transport.data[3] == 0x90

    run(body)


def test_user_properties_do_not_make_a_connack_too_large() -> None:
    """[MQTT-3.2.2-20]: what is told besides is left out where it has no room."""
    limits = Limits()

    def acceptance(size: int) -> bytes:
        connect = decode_connect(client.connect(5, props=largest(size))[2:])
        terms = handshake.agree(connect, limits, "c")
        return handshake.acceptance(connect, terms, limits, "worker-1", lost="The log was trimmed")

    whole = acceptance(10_000)
    assert whole.count(b"\x26") == 2
    sizes = {size: len(acceptance(size)) for size in range(1, len(whole) + 1)}
    least = min(filter(None, sizes.values()))
    for size, needed in sizes.items():
        assert needed <= size
        assert bool(needed) == (size >= least)
    assert len(set(sizes.values())) > 3, "nothing, the plain one, and with one of them"
    assert acceptance(len(whole)) == whole


@pytest.mark.parametrize("size", [3, 4, 5, 6, 40, 1_023, 1_024])
def test_a_goodbye_is_no_larger_than_the_client_takes(size: int) -> None:
    """[MQTT-3.14.2-3]."""
    limits = Limits()
    connect = decode_connect(client.connect(5, props=largest(size))[2:])
    terms = handshake.agree(connect, limits, "c")
    for sentence in ("", "x", "x" * 5_000, "é" * 5_000):
        frame = handshake.goodbye(terms, Reason.MALFORMED_PACKET, sentence)
        assert len(frame) <= size
        assert bool(frame) == (size >= 4)


def test_a_goodbye_of_the_server_has_a_reason_string_at_most() -> None:
    """[MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]: and it is the last."""

    async def body() -> None:
        harness = Harness()
        ends: dict[str, Callable[[Peer], object]] = {
            "violation": lambda peer: peer.send(client.publish("open/#", version=5)),
            "take-over": lambda peer: harness.connected(5, "c"),
            "shutdown": lambda peer: peer.connection.shutdown(),
            "operator": lambda peer: peer.connection.kick("No"),
        }
        for end in ends.values():
            peer = harness.connected(5, "c", props=LASTS)
            peer.send(client.subscribe("open/#", version=5))
            peer.take()
            end(peer)
            harness.connected(5, "p").send(client.publish("open/a", b"late", version=5))
            await harness.tick()
            (goodbye,) = peer.take()
            assert goodbye.kind == DISCONNECT
            assert goodbye.reason in DISCONNECT_TABLE
            assert goodbye.reason >= 0x80
            assert goodbye.properties[:1] == b"\x1f"
            size = int.from_bytes(goodbye.properties[1:3], "big")
            assert len(goodbye.properties) == 3 + size, "nothing else"
            assert peer.is_closed

    run(body)


def test_every_reason_has_a_packet() -> None:
    """Codes that the server knows are of the standard."""
    known = CONNACK_TABLE | DISCONNECT_TABLE | {0x01, 0x02, 0x04, 0x10, 0x11, 0x91, 0x92}
    assert set(map(int, Reason)) <= known
