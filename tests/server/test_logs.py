"""Every log line of the process looks the same, whichever library wrote it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from lyredb.security.audit import note_login, set_up_audit
from lyredb.server import logs
from lyredb.server.log_repeats import MAX_KINDS, WINDOW_S, Repeats
from lyredb.server.logs import LineHandler, set_up_logs
from lyredb.server.operation_settings import OPERATION_SETTINGS
from lyredb.server.settings import SettingsInForce, SettingsTable


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("uvicorn", "asyncio", "websockets")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()
    set_up_audit(failed=True, successful=True)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_of_both_libraries_are_json_with_the_same_keys() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream)
    logging.getLogger("lyredb.storage").warning("low on %s", "space", extra={"free": 7})
    structlog.get_logger("lyredb.mqtt").info("connected", client="a")
    first, second = lines(stream)
    assert first["message"] == "low on space"
    assert (first["level"], first["logger"], first["free"]) == ("warning", "lyredb.storage", 7)
    assert second["message"] == "connected"
    assert (second["level"], second["logger"], second["client"]) == ("info", "lyredb.mqtt", "a")
    assert first["timestamp"].endswith("Z")


def test_an_exception_is_one_line_with_its_traceback() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("lyredb").exception("a connection failed")
    [line] = lines(stream)
    assert "ValueError: broken" in line["exception"]


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    set_up_logs("warning", stream)
    logging.getLogger("lyredb").info("quiet")
    structlog.get_logger("lyredb").info("quiet")
    assert stream.getvalue() == ""


def test_everyday_lines_of_the_http_library_are_heard_at_debug_only() -> None:
    for level, count in (("info", 0), ("debug", 1)):
        stream = io.StringIO()
        set_up_logs(level, stream)
        logging.getLogger("uvicorn.error").info("Started server process")
        assert len(lines(stream)) == count


def test_people_get_text() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream, form="text")
    logging.getLogger("lyredb").info("hello %s", "there")
    assert "hello there" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_second_set_up_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up_logs("info", first)
    set_up_logs("info", second)
    logging.getLogger("lyredb").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def settings(**changed: object) -> SettingsInForce:
    """The rows of the logs with some values; ``max_repeats=2`` is ``logging.maxRepeats``."""
    names = {
        "level": "logging.level",
        "form": "logging.format",
        "max_repeats": "logging.maxRepeats",
        "failed": "logging.auditAuthEvents.logFailed",
        "successful": "logging.auditAuthEvents.logSuccessful",
    }
    flags = {names[name]: value for name, value in changed.items()}
    return SettingsTable(OPERATION_SETTINGS).load(flags=flags)


def test_a_reload_changes_the_level_without_another_handler() -> None:
    """Rooms keep their loggers and the stream stays: nothing is lost while it changes."""
    stream = io.StringIO()
    set_up_logs("info", stream)
    handlers = list(logging.getLogger().handlers)
    logs.reload(settings(level="error"))
    logging.getLogger("lyredb").warning("quiet")
    logs.reload(settings(level="debug"))
    logging.getLogger("lyredb").debug("heard")
    assert [line["message"] for line in lines(stream)] == ["heard"]
    assert logging.getLogger().handlers == handlers


def test_a_reload_changes_the_form() -> None:
    stream = io.StringIO()
    set_up_logs("info", stream)
    logs.reload(settings(form="text"))
    logging.getLogger("lyredb").info("hello")
    assert "hello" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_each_line_names_its_process() -> None:
    """Lines of several processes share the stream of the supervisor."""
    stream = io.StringIO()
    set_up_logs("info", stream, process="worker 1")
    logging.getLogger("lyredb").info("a")
    structlog.get_logger("lyredb").info("b")
    assert [line["process"] for line in lines(stream)] == ["worker 1", "worker 1"]


def test_what_is_said_again_and_again_is_counted_and_not_written() -> None:
    """Two of a kind are written; the next line after the window says how many were not."""
    stream, clock = io.StringIO(), [0.0]
    set_up_logs("info", stream)
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, LineHandler)
    handler.repeats = Repeats(2, now_s=lambda: clock[0])
    for number in range(5):
        logging.getLogger("lyredb").error("peer %d failed", number)
    clock[0] = WINDOW_S
    structlog.get_logger("lyredb").info("something else")
    assert [line["message"] for line in lines(stream)] == [
        "peer 0 failed",
        "peer 1 failed",
        "3 more lines within 10 s were left out: peer %d failed",
        "something else",
    ]


def test_wordings_without_end_are_bounded() -> None:
    """A library that builds its texts must not fill the memory."""
    repeats = Repeats(1, now_s=lambda: 0.0)
    for number in range(3 * MAX_KINDS):
        list(repeats.ended())
        assert repeats.admits(logging.makeLogRecord({"msg": str(number), "levelno": 20}))
    assert len(repeats._windows) <= MAX_KINDS + 1


def login(*, accepted: bool, user: str = "ann") -> None:
    note_login(
        user,
        accepted=accepted,
        strategy="basic",
        address="192.0.2.1",
        protocol="http",
        method="GET",
        path="/Sensor/1",
    )


def test_a_refused_login_is_one_line_with_all_that_is_known() -> None:
    stream = io.StringIO()
    set_up_logs("error", stream)
    logs.reload(settings(level="error"))
    login(accepted=False)
    [line] = lines(stream)
    assert {name: line[name] for name in ("user", "status", "strategy", "address")} == {
        "user": "ann",
        "status": "failure",
        "strategy": "basic",
        "address": "192.0.2.1",
    }
    assert (line["protocol"], line["method"], line["path"]) == ("http", "GET", "/Sensor/1")


@pytest.mark.parametrize(("failed", "successful"), [(True, False), (False, True), (False, False)])
def test_lines_of_logins_are_written_as_the_settings_say(failed: bool, successful: bool) -> None:
    stream = io.StringIO()
    set_up_logs("info", stream)
    logs.reload(settings(failed=failed, successful=successful))
    login(accepted=False)
    login(accepted=True)
    wanted = ["failure"] * failed + ["success"] * successful
    assert [line["status"] for line in lines(stream)] == wanted


def test_no_line_of_a_refused_login_is_left_out() -> None:
    """An attack must be seen as a whole."""
    stream = io.StringIO()
    set_up_logs("info", stream)
    logs.reload(settings(max_repeats=2))
    for _ in range(10):
        login(accepted=False)
    assert len(lines(stream)) == 10


def test_a_name_cannot_forge_or_flood_a_line() -> None:
    """It is a value of its own, cut; a line break in it stays inside of the JSON."""
    stream = io.StringIO()
    set_up_logs("info", stream)
    login(accepted=False, user="x\n" + "y" * 10_000)
    [line] = lines(stream)
    assert line["message"] == "login"
    assert len(line["user"]) == 200
