"""Server-sent events end to end: current state, ready, changes, resume."""

from __future__ import annotations

from tests.e2e.clients import rest, sse
from tests.e2e.server_process import ServerProcess, running_server, start_server


def test_stream_begins_with_current_state_then_ready_then_changes(
    server: ServerProcess,
) -> None:
    with rest(server) as client:
        client.put("/Sensor/a1", json={"value": 1})
        client.put("/Sensor/a2", json={"value": 2})
        with sse(server, "/Sensor/") as stream:
            current = {event.envelope["id"]: event.envelope for event in stream.until_ready()}
            assert {"a1", "a2"} <= set(current)
            assert current["a1"]["current"] is True
            client.put("/Sensor/a1", json={"value": 3})
            change = stream.next().envelope
    assert (change["id"], change["value"]) == ("a1", {"id": "a1", "value": 3})
    assert "current" not in change


def test_resume_sends_exactly_what_was_missed(server: ServerProcess) -> None:
    """Neither the state nor anything before the position is sent again."""
    with rest(server) as client:
        client.put("/Sensor/resume/x", json={"value": 0})
        with sse(server, "/Sensor/resume/") as stream:
            stream.until_ready()
            client.put("/Sensor/resume/x", json={"value": 1})
            last = stream.next()
        for number in range(2, 5):
            client.put("/Sensor/resume/x", json={"value": number})
        client.put("/Sensor/elsewhere", json={"value": 9})
        with sse(server, "/Sensor/resume/", last_event_id=last.id) as stream:
            missed = stream.until_ready()
            client.put("/Sensor/resume/x", json={"value": 5})
            live = stream.next()
    values = [event.envelope["value"]["value"] for event in [*missed, live]]  # type: ignore[index]
    assert values == [2, 3, 4, 5]


def test_unknown_position_gets_current_state_and_a_mark(server: ServerProcess) -> None:
    """A position of another log must not be taken for one of this log."""
    with rest(server) as client:
        client.put("/Sensor/lost", json={"value": 1})
    with sse(server, "/Sensor/lost", last_event_id="00000000000000ff.7") as stream:
        events = stream.until_ready()
    assert [event.event for event in events] == ["reset", "message"]
    assert events[1].envelope["current"] is True


def test_position_outlives_a_kill_of_the_server() -> None:
    with running_server() as server:
        with rest(server) as client, sse(server, "/Sensor/x") as stream:
            stream.until_ready()
            client.put("/Sensor/x", json={"value": 1})
            last = stream.next()
            client.put("/Sensor/x", json={"value": 2})
        server.kill()
        again = start_server(server.data.parent / "app", server.data)
        try:
            with sse(again, "/Sensor/x", last_event_id=last.id) as stream:
                missed = [event.envelope["value"] for event in stream.until_ready()]
        finally:
            again.kill()
            assert again.process.stdout is not None
            again.process.stdout.close()
    assert missed == [{"id": "x", "value": 2}]
