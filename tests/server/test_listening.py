"""An operator whose port cannot be had reads which one, and which setting to change."""

from __future__ import annotations

import errno
import os

import pytest

from lyredb.errors import SettingError
from lyredb.plugins.settings import Setting
from lyredb.server.core_settings import CORE_SETTINGS
from lyredb.server.listening import Listeners, listen_error
from lyredb.server.settings import SettingsTable

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


@pytest.mark.parametrize("host", ["no.such.name.invalid", "a" * 70, "a..b"])
def test_a_host_that_is_not_known_is_a_fault_of_the_host(host: str) -> None:
    settings = SettingsTable(CORE_SETTINGS).load(
        flags={"network.host": host, "operationsApi.network.port": 0}
    )
    with pytest.raises(SettingError, match="no address or name that this machine knows") as caught:
        Listeners(settings, CORE_SETTINGS)("operationsApi.network.port")
    assert caught.value.key == "network.host"
    assert host in str(caught.value)
