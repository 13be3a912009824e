"""An operator whose port cannot be had reads which one, and which setting to change."""

from __future__ import annotations

import errno
import os

import pytest

from lyredb.plugins.settings import Setting
from lyredb.server.listening import listen_error

ROW = Setting("http.port", 9926, "port", "The port.", option="--http-port")


@pytest.mark.parametrize(
    ("number", "key", "phrases"),
    [
        (errno.EADDRINUSE, "http.port", ("port 9926 of ::1 is in use", "--http-port")),
        (errno.EACCES, "http.port", ("may not listen on port 9926", "--http-port")),
        (errno.EADDRNOTAVAIL, "network.host", ("::1 is no address of this machine", "--host")),
        (errno.EMFILE, "http.port", ("Too many open files",)),
    ],
)
def test_each_reason_is_a_sentence_that_names_the_setting(
    number: int, key: str, phrases: tuple[str, ...]
) -> None:
    error = listen_error(OSError(number, os.strerror(number)), ROW, host="::1", port=9926)
    assert error.key == key
    for phrase in phrases:
        assert phrase in str(error)
