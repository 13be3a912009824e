"""Acknowledgements leave in the order of arrival, whatever they wait for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.acks import AckQueue, Pending


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=30), st.randoms())
def test_order_of_arrival_holds_whatever_commits_first(
    arrivals: list[tuple[bool, int]], random: object
) -> None:
    """[MQTT-4.6.0-2]. Some wait for a commit, some do not; commits end in any order."""
    queue = AckQueue()
    sent = bytearray()
    expected = bytearray()
    waiting: list[Pending] = []
    for number, (waits, end_one) in enumerate(arrivals, start=1):
        frame = encode.puback(number)
        expected += frame
        if waits:
            waiting.append(queue.reserve(1, number))
        else:
            queue.add(frame, 1)
        if waiting and end_one < len(waiting):
            pending = waiting.pop(end_one)
            queue.decide(pending, encode.puback(pending.packet_id))
        sent += queue.ready
        queue.ready = b""
        assert expected.startswith(sent), "never out of order"
    for pending in reversed(waiting):
        queue.decide(pending, encode.puback(pending.packet_id))
    assert sent + queue.ready == expected
    assert queue.outstanding == 0


def test_what_waits_is_outstanding_and_so_is_what_waits_behind_it() -> None:
    """MQTT 5 §4.9: the client's quota is given back by a PUBACK that was sent."""
    queue = AckQueue()
    queue.add(encode.puback(1), 1)
    assert queue.outstanding == 0
    pending = queue.reserve(1, 2)
    queue.add(encode.puback(3) + encode.puback(4), 2)
    assert queue.outstanding == 3
    queue.decide(pending, b"")
    assert queue.outstanding == 0
    assert bytes(queue.ready) == encode.puback(1) + encode.puback(3) + encode.puback(4)
