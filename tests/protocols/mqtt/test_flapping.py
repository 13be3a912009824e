"""Who is banned for coming and leaving too often, and for how long."""

from __future__ import annotations

from lyredb.protocols.mqtt import flapping
from lyredb.protocols.mqtt.flapping import Flapping, FlappingLimits
from lyredb.protocols.mqtt.reasons import Reason
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, run


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def three_a_minute() -> tuple[Flapping, Clock]:
    clock = Clock()
    return Flapping(FlappingLimits(3, 60, 300), clock), clock


def test_the_third_end_in_a_minute_bans_for_five() -> None:
    who, clock = three_a_minute()
    assert [who.note_end("ada", "x") for _ in range(3)] == [False, False, True]
    assert who.ban_s("ada", "x") == 300
    clock.s += 299
    assert who.ban_s("ada", "x") == 1
    clock.s += 1
    assert who.ban_s("ada", "x") == 0


def test_ends_that_are_further_apart_ban_nobody() -> None:
    who, clock = three_a_minute()
    for _ in range(10):
        assert not who.note_end("ada", "x")
        clock.s += 31


def test_nobody_bans_the_client_of_another_user() -> None:
    who, _ = three_a_minute()
    for _ in range(5):
        who.note_end("eve", "x")
    assert who.ban_s("eve", "x") > 0
    assert who.ban_s("ada", "x") == 0


def test_as_many_as_are_allowed_are_remembered() -> None:
    who, _ = three_a_minute()
    for number in range(flapping._MAX_REMEMBERED + 10):
        who.note_end("ada", str(number))
    assert len(who._clients) == flapping._MAX_REMEMBERED


def test_workers_share_the_limit_and_never_have_none() -> None:
    assert FlappingLimits(15).shared_by(4).ends == 4
    assert FlappingLimits(0).shared_by(4).ends == 0
    assert FlappingLimits(1).shared_by(4).ends == 1


def test_a_client_that_is_banned_is_told_so() -> None:
    """CONNACK 0x8A (MQTT 5 §3.2.2.2); others are let in meanwhile."""

    async def body() -> None:
        harness = Harness(flapping=FlappingLimits(2, 60, 300))
        for _ in range(2):
            harness.connected(5, "shaky").connection.connection_lost()
            await harness.tick()
        refused = harness.peer(5)
        refused.send(client.connect(5, "shaky"))
        await harness.tick()
        assert refused.take()[0].reason == Reason.BANNED
        harness.connected(5, "steady")

    run(body)
