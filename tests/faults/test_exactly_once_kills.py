"""QoS 2 through kills of the whole server, between the packets of a publisher's handshake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, start_server
from tests.protocols.mqtt import client_frames as frames

FOREVER = b"\x11\xff\xff\xff\xff"
TOPIC = "Sensor/once"
ROUNDS = 2


def connected(server: ServerProcess, client_id: str) -> RawMqtt:
    """A client with a session that never ends by itself."""
    client = RawMqtt(server, 5)
    client.send(
        frames.connect(
            5,
            client_id,
            clean=False,
            username=USER,
            password=PASSWORD.encode(),
            props=FOREVER,
        )
    )
    accepted = client.next()
    assert (accepted.kind, accepted.reason) == (2, 0)
    return client


def message(number: int, *, dup: bool = False) -> bytes:
    payload = b'{"value":%d}' % number
    return frames.publish(TOPIC, payload, version=5, qos=2, packet_id=number, dup=dup)


def heard(server: ServerProcess, most: int) -> list[bytes]:
    """What the session of the reader has kept, each handshake brought to its end."""
    with connected(server, "reader") as reader:
        found: list[bytes] = []
        completed = 0
        while completed < most:
            packet = reader.next()
            if packet.kind == 3:
                found.append(packet.payload)
                reader.send(frames.pubrec(packet.packet_id))
            else:
                assert packet.kind == 6
                reader.send(frames.pubcomp(packet.packet_id))
                completed += 1
        reader.send(frames.PINGREQ)
        assert reader.next().kind == 13
        return found


@pytest.mark.parametrize("point", ["PUBLISH", "PUBREC", "PUBREL"])
def test_a_message_is_told_once_whenever_the_server_is_killed(tmp_path: Path, point: str) -> None:
    """The publisher goes on as the standard has it: what has no answer is sent again."""
    application, data = tmp_path / "app", tmp_path / "data"
    application.mkdir()
    (application / "schema.graphql").write_text(
        "type Sensor @table @export { id: ID @primaryKey value: Float }"
    )
    server = start_server(application, data)
    try:
        with connected(server, "reader") as reader:
            reader.send(frames.subscribe((TOPIC, 2), version=5))
            assert reader.until(9).codes == [2]
        for number in range(1, ROUNDS + 1):
            with connected(server, "writer") as writer:
                writer.send(message(number))
                if point != "PUBLISH":
                    assert writer.until(5).packet_id == number
                if point == "PUBREL":
                    writer.send(frames.pubrel(number))
                server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()
            server = start_server(application, data)
            with connected(server, "writer") as writer:
                if point != "PUBREL":
                    writer.send(message(number, dup=True))
                    answer = writer.until(5)
                    assert (answer.packet_id, answer.reason) == (number, 0)
                writer.send(frames.pubrel(number))
                done = writer.until(7)
                assert done.packet_id == number
                assert done.reason in ((0, 0x92) if point == "PUBREL" else (0,))
        assert heard(server, ROUNDS) == [b'{"value":%d}' % n for n in range(1, ROUNDS + 1)]
    finally:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()
