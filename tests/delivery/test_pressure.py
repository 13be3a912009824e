"""Back-pressure: only the publishers of a slow subscriber wait, and never for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.delivery.world import Publisher, Reader, World


def test_only_publishers_of_the_slow_subscriber_wait() -> None:
    """ "Nobody publishes while anybody is congested" deadlocks."""
    world, slow, fast = World(), Reader(congested=True), Reader()
    to_slow, to_fast = Publisher(), Publisher()
    world.join("slow", slow)
    world.join("fast", fast)
    world.send("slow", "x", publisher=to_slow)
    world.send("fast", "x", publisher=to_fast)
    world.tick()
    assert to_slow.reasons == [slow]
    assert to_fast.reasons == []


def test_publishers_go_on_when_the_subscriber_has_drained() -> None:
    world, slow, publisher = World(), Reader(congested=True), Publisher()
    world.join("a", slow)
    world.send("a", "x", publisher=publisher)
    world.tick()
    slow.congested = False
    world.hub.drained(slow)
    assert publisher.reasons == []
    world.pass_time(10)
    assert publisher.reasons == []


def test_publishers_go_on_when_the_credit_is_used_up() -> None:
    """200 ms in 4 s, however slow it is; then there is a new credit."""
    world, slow, publisher = World(), Reader(congested=True), Publisher()
    world.join("a", slow)

    def send() -> None:
        world.send("a", "x", publisher=publisher)
        world.tick()

    send()
    world.pass_time(0.19)
    assert publisher.reasons == [slow]
    world.pass_time(0.02)
    assert publisher.reasons == []
    send()
    assert publisher.reasons == []
    world.pass_time(4)
    send()
    assert publisher.reasons == [slow]


def test_draining_in_time_keeps_the_rest_of_the_credit_only() -> None:
    """Many short waits add up to the same 200 ms."""
    world, slow, publisher = World(), Reader(congested=True), Publisher()
    world.join("a", slow)
    for _ in range(2):
        world.send("a", "x", publisher=publisher)
        world.tick()
        world.pass_time(0.15)
        world.hub.drained(slow)
    world.send("a", "x", publisher=publisher)
    world.tick()
    assert publisher.reasons == []


def test_a_publisher_is_paused_once_per_subscriber() -> None:
    world, slow, publisher = World(), Reader(congested=True), Publisher()
    world.join("a", slow)
    for _ in range(3):
        world.send("a", "x", publisher=publisher)
        world.tick()
    assert publisher.reasons == [slow]
    world.hub.drained(slow)
    assert publisher.reasons == []


def test_a_subscriber_that_leaves_holds_nobody_back() -> None:
    world, slow, publisher = World(), Reader(congested=True), Publisher()
    world.join("a", slow)
    world.send("a", "x", publisher=publisher)
    world.tick()
    world.hub.leave("a", slow)
    assert publisher.reasons == []
    assert world.hub.statistics().waiting == 0


def test_what_comes_from_the_log_pauses_nobody() -> None:
    """Its writers have their answers already."""
    world, slow = World(), Reader(congested=True)
    world.join("a", slow)
    world.send("a", "x", publisher=None)
    world.tick()
    assert world.hub.statistics().pauses == 0


@given(st.lists(st.sampled_from(["send", "drain", "time"]), max_size=60))
def test_in_no_4_seconds_is_more_than_the_credit_waited(plan: list[str]) -> None:
    """Over any schedule, the waiting within one credit period stays within 200 ms."""
    world, slow, publisher = World(), Reader(congested=True), Publisher()
    world.join("a", slow)
    period_began, waited = float("-inf"), 0.0
    for step in plan:
        if step == "send":
            was_paused = bool(publisher.reasons)
            world.send("a", "x", publisher=publisher)
            world.tick()
            if publisher.reasons and not was_paused and world.now - period_began >= 4:
                period_began, waited = world.now, 0.0
        elif step == "drain":
            world.hub.drained(slow)
        else:
            waited += 0.05 * bool(publisher.reasons)
            world.pass_time(0.05)
        assert waited <= 0.2 + 0.051
    world.pass_time(1)
    assert publisher.reasons == []
