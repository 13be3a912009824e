"""Every log line of the process looks the same, whichever library wrote it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from lyredb.server.logs import set_up_logs


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
    set_up_logs("info", stream, human=True)
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
