"""The ready line: JSON for machines, a page with commands that work for people."""

from __future__ import annotations

import io
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lyredb.plugins.scope import Address
from lyredb.server.ready import Ready, announce
from lyredb.server.sample import Sample
from lyredb.tables.schema import Export

READY = Ready(
    version="0.1.0",
    pid=42,
    http=Address("http", "127.0.0.1", 9926),
    operations=Address("http", "127.0.0.1", 9925),
    listeners={"mqtt": [Address("mqtt", "127.0.0.1", 1883)], "rest": []},
    application="weather",
    tables=("Sensor", "Station"),
    data_dir=Path("/data"),
    local=True,
    sample=Sample(Export("Sensor"), "kitchen", {"value": 21.5}),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def page(ready: Ready) -> str:
    terminal = Terminal()
    announce(ready, terminal)
    return terminal.getvalue()


def test_a_machine_gets_one_json_line_with_every_address() -> None:
    stream = io.StringIO()
    announce(READY, stream)
    [line] = stream.getvalue().splitlines()
    assert json.loads(line) == {
        "ready": True,
        "http": "http://127.0.0.1:9926",
        "mqtt": "mqtt://127.0.0.1:1883",
        "operations": "http://127.0.0.1:9925",
        "pid": 42,
        "version": "0.1.0",
        "workers": 1,
    }


def test_a_machine_is_told_where_a_generated_password_is_but_not_the_password() -> None:
    made = replace(READY, admin="admin", password_file=Path("/data/admin-password"))
    line = json.loads(made.as_json())
    assert (line["admin"], line["passwordFile"]) == ("admin", "/data/admin-password")


def test_people_get_the_addresses_and_commands_to_try() -> None:
    text = page(READY)
    for part in ("http://127.0.0.1:9926", "mqtt://127.0.0.1:1883", "Sensor, Station", "/data"):
        assert part in text
    assert "curl http://127.0.0.1:9926/Sensor/" in text
    assert "mosquitto_sub -h 127.0.0.1 -p 1883 -v -t 'Sensor/#'" in text


def test_commands_to_try_write_before_they_read() -> None:
    """A reader of an empty table sees nothing, and thinks that nothing works."""
    tries = READY.tries()
    assert tries[0] == (
        "curl -X PUT http://127.0.0.1:9926/Sensor/kitchen "
        "-H 'Content-Type: application/json' -d '{\"value\": 21.5}'"
    )
    publish = "mosquitto_pub -h 127.0.0.1 -p 1883 -t Sensor/kitchen -r -m '{\"value\": 21.5}'"
    assert tries[-1] == publish


@pytest.mark.parametrize("protocol", ["rest", "sse", "mqtt"])
def test_a_protocol_that_does_not_see_the_table_is_not_tried(protocol: str) -> None:
    words = {"rest": "curl -X PUT", "sse": "event-stream", "mqtt": "mosquitto_"}
    assert words[protocol] in " ".join(READY.tries())
    assert READY.sample is not None
    switch: dict[str, Any] = {protocol: False}
    export = replace(READY.sample.export, **switch)
    tries = replace(READY, sample=replace(READY.sample, export=export)).tries()
    assert words[protocol] not in " ".join(tries)
    assert tries != []


def test_names_from_elsewhere_cannot_become_commands() -> None:
    sample = Sample(Export("a b/$(id)"), "1", {"it's": "$HOME"})
    put, *_, publish = replace(READY, sample=sample).tries()
    assert shlex.split(put)[3] == "http://127.0.0.1:9926/a%20b/%24%28id%29/1"
    assert json.loads(shlex.split(put)[-1]) == sample.record
    assert shlex.split(publish)[6] == "a b/$(id)/1"
    assert "'a b/$(id)/1'" in publish


def test_where_nothing_can_be_written_the_health_is_left() -> None:
    assert replace(READY, sample=None).tries() == ["curl http://127.0.0.1:9926/health"]


def test_where_a_login_is_needed_the_commands_have_one() -> None:
    made = replace(READY, local=False, admin="root", password_file=Path("/data/admin-password"))
    text = page(made)
    assert "PASSWORD=$(cat /data/admin-password)" in text
    assert "curl -u root:$PASSWORD -X PUT" in text
    assert "mosquitto_sub -h 127.0.0.1 -p 1883 -u root -P $PASSWORD" in text
    assert "password in /data/admin-password" in text


def test_an_ipv6_address_is_written_as_a_url() -> None:
    ready = replace(READY, http=Address("http", "::1", 80))
    assert json.loads(ready.as_json())["http"] == "http://[::1]:80"
