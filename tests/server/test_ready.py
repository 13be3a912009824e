"""The ready line: JSON for machines, a page with commands that work for people."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

from lyredb.plugins.scope import Address
from lyredb.server.ready import Ready, announce

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


def test_where_a_login_is_needed_the_commands_have_one() -> None:
    made = replace(READY, local=False, admin="root", password_file=Path("/data/admin-password"))
    text = page(made)
    assert "curl -u root:$PASSWORD" in text
    assert "mosquitto_sub -h 127.0.0.1 -p 1883 -u root -P $PASSWORD" in text
    assert "password in /data/admin-password" in text


def test_an_ipv6_address_is_written_as_a_url() -> None:
    ready = replace(READY, http=Address("http", "::1", 80))
    assert json.loads(ready.as_json())["http"] == "http://[::1]:80"
