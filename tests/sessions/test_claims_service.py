"""Claims between workers and the directory: over streams that may break on either side."""

from __future__ import annotations

from typing import cast

import pytest

from lyredb.errors import DiskFull, LyreError, Overloaded
from lyredb.sessions.claims import Refusal
from lyredb.sessions.claims_client import Claims
from lyredb.sessions.claims_service import FENCE_S, ClaimsService
from lyredb.sessions.wills import Will, decode_will, row_name
from lyredb.storage.sequencer import Sequencer
from tests.sessions.streams import FakeWriter, HandTimers, Streams
from tests.sessions.wills import will

NOW_MS = 1_000_000


class Client:
    """A connection that claims; stops when it is asked to, if it is willing."""

    def __init__(self, claims: Claims, user: str = "u", kept: Will | None = None) -> None:
        self.result: int | Refusal | LyreError | None = None
        self.revoked = 0
        self.is_willing = True
        self._claims = claims
        claims.claim("c", user, self._on_result, self._on_revoke, kept)

    def _on_result(self, result: int | Refusal | LyreError) -> None:
        assert self.result is None, "answered once"
        self.result = result

    def _on_revoke(self) -> None:
        self.revoked += 1
        if self.is_willing:
            self.stop()

    @property
    def epoch(self) -> int:
        assert type(self.result) is int, self.result
        return self.result

    def stop(self, delay_ms: int = 0) -> None:
        self._claims.release("c", self.epoch, delay_ms)


class World:
    def __init__(self) -> None:
        self.streams = Streams()
        self.writer = FakeWriter()
        self.timers = HandTimers()
        self.now_ms = NOW_MS
        self.service = self.new_service()
        self.one = Claims(self.streams.worker(1))
        self.two = Claims(self.streams.worker(2))

    def new_service(self) -> ClaimsService:
        return ClaimsService(
            self.streams,
            cast(Sequencer, self.writer),
            call_later=self.timers.call_later,
            now_ms=lambda: self.now_ms,
            is_settled=lambda epoch: row_name(epoch) not in self.writer.rows,
        )

    def client(self, claims: Claims, user: str = "u", kept: Will | None = None) -> Client:
        client = Client(claims, user, kept)
        self.streams.run()
        return client


@pytest.fixture
def world() -> World:
    return World()


def test_a_connection_of_another_worker_stops_before_its_successor_is_answered(
    world: World,
) -> None:
    old = world.client(world.one)
    new = world.client(world.two)
    assert old.revoked == 1
    assert new.epoch > old.epoch
    assert (len(world.one), len(world.two)) == (0, 1)


def test_a_retained_will_that_is_written_first_is_waited_for(world: World) -> None:
    """The successor is answered when the old connection has released, not when it was asked."""
    old = world.client(world.one)
    old.is_willing = False
    new = world.client(world.two)
    assert (old.revoked, new.result) == (1, None)
    old.stop()
    world.streams.run()
    assert new.epoch


def test_a_connection_that_does_not_stop_is_fenced_after_two_seconds(world: World) -> None:
    old = world.client(world.one)
    old.is_willing = False
    new = world.client(world.two)
    assert [delay for delay, _ in world.timers.set] == [FENCE_S]
    world.timers.pass_all()
    world.streams.run()
    assert new.epoch
    old.stop()
    world.streams.run()
    third = world.client(world.one)
    assert (new.revoked, third.epoch > new.epoch) == (1, True), "what was late changed nothing"


def test_another_user_is_refused(world: World) -> None:
    old = world.client(world.one, "u")
    assert world.client(world.two, "v").result is Refusal.OTHER_USER
    assert old.revoked == 0


def test_the_will_of_a_lost_worker_is_written_once_with_its_deadline(world: World) -> None:
    world.client(world.one, kept=will(1, lifetime_ms=5_000))
    world.streams.lose(1)
    world.writer.answer()
    (written,) = world.writer.written
    assert (written.body, written.expires_ms) == (b"1", NOW_MS + 5_000)
    assert world.service.statistics().wills_published == 1


def test_a_successor_is_answered_after_the_will_of_a_lost_worker_is_on_disk(world: World) -> None:
    old = world.client(world.one, kept=will(1))
    old.is_willing = False
    new = world.client(world.two)
    world.streams.lose(1)
    world.streams.run()
    assert new.result is None
    world.writer.answer()
    world.streams.run()
    assert new.epoch


def test_a_will_that_was_withdrawn_or_taken_along_is_not_written(world: World) -> None:
    kept = world.client(world.one, kept=will(1))
    world.one.set_will("c", kept.epoch, None)
    world.streams.lose(1)
    world.client(world.two, kept=will(2)).stop()
    world.streams.lose(2)
    assert not world.writer.waiting


def test_a_will_that_was_replaced_is_written_as_it_is_now(world: World) -> None:
    kept = world.client(world.one, kept=will(1))
    world.one.set_will("c", kept.epoch, will(2))
    world.streams.lose(1)
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"2"]


def test_wills_wait_for_room_at_the_writer(world: World) -> None:
    world.client(world.one, kept=will(1))
    world.writer.error = Overloaded("full")
    world.streams.lose(1)
    assert world.service.statistics().wills_waiting == 1
    world.writer.error = None
    world.timers.pass_all()
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"1"]


def test_many_wills_are_written_in_order_a_bounded_number_at_once(world: World) -> None:
    for number in range(1, 251):
        world.one.claim(f"c{number}", "u", lambda _: None, lambda: None, will(number))
    world.streams.run()
    world.streams.lose(1)
    rounds = 0
    while world.writer.waiting:
        assert len(world.writer.waiting) <= 100
        world.writer.answer()
        rounds += 1
    assert [int(one.body) for one in world.writer.written] == list(range(1, 251))
    assert rounds >= 3


def test_a_will_that_the_writer_refuses_is_counted_and_frees_the_identifier(world: World) -> None:
    old = world.client(world.one, kept=will(1))
    old.is_willing = False
    new = world.client(world.two)
    world.streams.lose(1)
    world.writer.answer(DiskFull("no room"))
    world.streams.run()
    assert new.epoch
    assert world.service.statistics().wills_failed == 1


def test_claims_outlive_the_process_of_the_directory_with_their_wills(world: World) -> None:
    old = world.client(world.one, kept=will(1))
    world.streams.go_away()
    world.new_service()
    world.streams.come_back()
    world.streams.run()
    assert world.client(world.two, "v").result is Refusal.OTHER_USER
    world.streams.lose(1)
    world.writer.answer()
    assert len(world.writer.written) == 1
    assert old.revoked == 0


def test_a_claim_fails_when_the_directory_goes_away_before_it_answers(world: World) -> None:
    old = world.client(world.one)
    old.is_willing = False
    new = world.client(world.two)
    world.streams.go_away()
    assert isinstance(new.result, Overloaded)
    assert isinstance(world.client(world.two).result, Overloaded), "and while it is away"


def test_what_is_released_while_the_directory_is_away_is_free_when_it_is_back(
    world: World,
) -> None:
    old = world.client(world.one)
    world.streams.go_away()
    old.stop()
    world.new_service()
    world.streams.come_back()
    assert world.client(world.two, "v").epoch


def test_ten_thousand_claims_are_announced_in_notices_that_fit(world: World) -> None:
    """A notice has at most 1 MB."""
    sizes: list[int] = []
    send = world.streams.send

    def spy(worker: int, kind: str, body: bytes, reply: object) -> None:
        sizes.append(len(body))
        send(worker, kind, body, cast("None", reply))

    for number in range(2_000):
        world.one.claim(f"c{number}", "u", lambda _: None, lambda: None, will(10**4_000))
    world.streams.run()
    world.streams.go_away()
    service = world.new_service()
    world.streams.send = spy  # type: ignore[method-assign]  # to look at what passes
    world.streams.come_back()
    world.streams.run()
    assert service.statistics().claims == 2_000
    assert max(sizes) < 1_000_000
    assert len(sizes) > 1


def test_a_claim_whose_worker_is_lost_while_it_waits_is_forgotten(world: World) -> None:
    old = world.client(world.one)
    old.is_willing = False
    new = world.client(world.two, kept=will(7))
    world.streams.lose(2)
    old.stop()
    world.streams.run()
    assert new.result is None
    assert world.client(world.one, "v").epoch, "nobody has it"
    assert not world.writer.waiting, "the will of a client that was never let in is none"


def test_an_heir_that_is_lost_before_the_will_is_written_is_not_answered(world: World) -> None:
    """The next process of that worker has never asked."""
    old = world.client(world.one, kept=will(1))
    old.is_willing = False
    new = world.client(world.two)
    world.streams.lose(1)
    world.streams.lose(2)
    world.writer.answer()
    world.streams.run()
    assert new.result is None
    assert world.service.statistics().claims == 0


def test_a_will_is_on_disk_from_the_answer_to_its_settlement(world: World) -> None:
    client = world.client(world.one, kept=will(1))
    assert len(world.writer.rows) == 1
    client.stop()
    world.streams.run()
    assert not world.writer.rows


def test_a_claim_whose_will_cannot_be_kept_is_refused_and_free(world: World) -> None:
    world.writer.row_error = DiskFull("no room")
    assert isinstance(world.client(world.one, kept=will(1)).result, DiskFull)
    assert world.client(world.two, "v").epoch


def test_a_delayed_will_is_written_when_its_time_has_come(world: World) -> None:
    world.client(world.one, kept=will(1, delay_ms=5_000)).stop(5_000)
    world.streams.run()
    assert [wait_s for wait_s, _ in world.timers.set] == [5.0]
    world.now_ms += 4_999
    world.timers.pass_all()
    assert not world.writer.waiting, "the clock was set back"
    world.now_ms += 1
    world.timers.pass_all()
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"1"]
    assert not world.writer.rows


def test_a_will_that_is_due_earlier_is_not_held_up_by_a_later_one(world: World) -> None:
    for delay_ms in (5_000, 2_000):
        client_id = f"c{delay_ms}"
        results: list[object] = []
        registered = will(delay_ms, delay_ms=delay_ms)
        world.one.claim(client_id, "u", results.append, lambda: None, registered)
        world.streams.run()
        world.one.release(client_id, cast(int, results[0]), delay_ms)
        world.streams.run()
    world.now_ms += 2_000
    world.timers.pass_all()
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"2000"]


def test_the_end_of_a_session_publishes_its_will_early(world: World) -> None:
    world.client(world.one, kept=will(1, delay_ms=5_000)).stop(5_000)
    world.two.end_session("c")
    world.streams.run()
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"1"]


@pytest.mark.parametrize("is_gone", [True, False])
def test_the_will_of_a_session_that_is_forgotten_waits_for_nothing(
    world: World, is_gone: bool
) -> None:
    """Published early, and after its connection has stopped [MQTT-3.1.2-8]."""
    client = world.client(world.one, kept=will(1, delay_ms=5_000))
    if is_gone:
        client.stop(5_000)
        world.streams.run()
    world.service.forget("c")
    world.streams.run()
    if not is_gone:
        assert not world.writer.waiting, "it may be published by the connection itself"
        client.stop(5_000)
        world.streams.run()
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"1"]


def test_who_comes_after_a_session_was_forgotten_has_a_will_with_its_delay(world: World) -> None:
    first = world.client(world.one, kept=will(1, delay_ms=5_000))
    world.service.forget("c")
    second = world.client(world.two, kept=will(2, delay_ms=5_000))
    assert first.revoked == 1
    second.stop(5_000)
    world.streams.run()
    world.writer.answer()
    assert b"2" not in [mutation.body for mutation in world.writer.written]


def restarted(world: World, grace_s: float) -> None:
    """Every process is gone; rows are what is left."""
    world.streams.ends.clear()
    world.streams.go_away()
    world.service = world.new_service()
    world.service.restore([decode_will(row) for row in world.writer.rows.values()], grace_s)
    world.one = Claims(world.streams.worker(1))
    world.streams.come_back()
    world.streams.run()


def test_the_wills_of_a_killed_server_are_written_once_after_the_grace(world: World) -> None:
    world.client(world.one, kept=will(1))
    restarted(world, 30.0)
    restarted(world, 30.0)
    assert [wait_s for wait_s, _ in world.timers.set] == [30.0, 30.0]
    world.now_ms += 30_000
    world.timers.set = world.timers.set[1:]
    world.timers.pass_all()
    world.writer.answer()
    assert [mutation.body for mutation in world.writer.written] == [b"1"]
    restarted(world, 0.0)
    world.timers.pass_all()
    assert not world.writer.waiting


def test_a_client_that_comes_back_within_the_grace_has_not_gone(world: World) -> None:
    world.client(world.one, kept=will(1))
    restarted(world, 30.0)
    back = world.client(world.one, kept=will(2))
    world.one.confirm("c", back.epoch)
    world.streams.run()
    world.now_ms += 30_000
    world.timers.pass_all()
    assert not world.writer.waiting
    assert [decode_will(row).will for row in world.writer.rows.values()] == [will(2)]


def test_a_release_while_the_writer_is_away_is_told_to_the_next(world: World) -> None:
    """Else its will would be published again, by a writer that finds only the row."""
    old = world.client(world.one, kept=will(1))
    world.streams.go_away()
    old.stop()
    world.streams.run()
    world.service = world.new_service()
    world.service.restore([decode_will(row) for row in world.writer.rows.values()], 30.0)
    world.streams.come_back()
    world.streams.run()
    assert not world.writer.rows
    world.now_ms += 30_000
    world.timers.pass_all()
    assert not world.writer.waiting


def test_a_row_that_cannot_be_removed_for_now_is_removed_later(world: World) -> None:
    client = world.client(world.one, kept=will(1))
    world.writer.row_error = Overloaded("busy")
    client.stop()
    world.streams.run()
    assert world.writer.rows
    world.writer.row_error = None
    world.timers.pass_all()
    assert not world.writer.rows


def test_a_will_that_its_worker_published_before_it_was_lost_is_not_published_again(
    world: World,
) -> None:
    """The row went away with the write: that is what tells."""
    client = world.client(world.one, kept=will(1))
    del world.writer.rows[row_name(client.epoch)]
    world.streams.lose(1)
    assert not world.writer.waiting
