"""The weather example as a user starts it: a replay over MQTT, seen in a browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.chromium import Page, browser_page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(120)]

RUN = Path(__file__).resolve().parents[2] / "examples/weather/run.py"
STOP_DEADLINE_S = 20
HISTORY_DAYS = 20

POINTS = """Number(document.querySelector(
    '[data-place="seattle"] [data-field="points"]')?.textContent.replaceAll(",", ""))"""
IS_LIVE = "document.querySelector('.state').dataset.state === 'live'"


@dataclass(frozen=True)
class Example:
    """The running example.

    Attributes:
        process: `run.py`.
        http: Base address of the server.
        mqtt_port: Of its MQTT listener on 127.0.0.1.
        server_pid: Of the server.
    """

    process: subprocess.Popen[str]
    http: str
    mqtt_port: int
    server_pid: int


def start_example(log: Path, *arguments: str) -> Example:
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, str(RUN), "--json", "--http-port", "0", "--mqtt-port", "0"),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(STOP_DEADLINE_S)
        raise AssertionError(f"the example did not start: {log.read_text()}")
    ready = json.loads(line)
    mqtt_port = urlsplit(ready["mqtt"]).port
    assert mqtt_port is not None
    return Example(process, ready["http"], mqtt_port, ready["pid"])


def stop_example(example: Example, number: int = signal.SIGTERM) -> int:
    """Stop it as a user would, and return its exit status."""
    example.process.send_signal(number)
    try:
        return example.process.wait(STOP_DEADLINE_S)
    finally:
        assert example.process.stdout is not None
        example.process.stdout.close()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    log = tmp_path_factory.mktemp("weather") / "errors.log"
    running = start_example(log, "--speed", "5", "--history", str(HISTORY_DAYS))
    yield running
    assert stop_example(running) == 0, log.read_text()


@pytest.fixture
def page(example: Example) -> Iterator[Page]:
    """The example's page when it has shown the first history."""
    with browser_page() as tab:
        tab.open(f"{example.http}/")
        tab.wait_for(IS_LIVE)
        tab.wait_for(f"{POINTS} >= {HISTORY_DAYS}")
        yield tab
        assert tab.problems == []


def card_of(place: str) -> str:
    return f"document.querySelector('[data-place=\"{place}\"]')"


def shown(place: str, value: str) -> str:
    return f"{card_of(place)}?.querySelector('[data-value=\"{value}\"]')?.textContent"


def test_chart_grows_while_observations_come_in(page: Page) -> None:
    """Replay, MQTT, table, SSE and chart, all of the way."""
    before = page.evaluate(POINTS)
    page.wait_for(f"{POINTS} >= {before} + 3")
    drawn = f"{card_of('seattle')}.querySelector('.chart canvas').width"
    assert page.evaluate(f"{drawn} > 100")
    assert page.evaluate(f"Number({shown('seattle', 'high')}.replace('−', '-')) > -30")


def test_record_put_over_rest_appears(example: Example, page: Page) -> None:
    answer = httpx.put(
        f"{example.http}/Weather/rest-place",
        json={"name": "REST place", "temperature": -4.5, "weather": "snow"},
    )
    assert answer.status_code == 204, answer.text
    page.wait_for(f"{shown('rest-place', 'temperature')} === '−4.5'")
    icon = f"{card_of('rest-place')}.querySelector('.icon use').getAttribute('href')"
    assert page.evaluate(icon) == "#icon-snow"


def test_retained_publish_over_mqtt_appears_and_is_the_record(example: Example, page: Page) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", example.mqtt_port)
    client.loop_start()
    try:
        payload = json.dumps({"temperature": 33.5})
        client.publish("Weather/mqtt-place", payload, qos=1, retain=True).wait_for_publish(10)
    finally:
        client.disconnect()
        client.loop_stop()
    page.wait_for(f"{shown('mqtt-place', 'temperature')} === '33.5'")
    assert httpx.get(f"{example.http}/Weather/mqtt-place").json()["temperature"] == 33.5


def test_raw_event_of_a_lone_record_is_seen_between_two_busy_places(
    example: Example, page: Page
) -> None:
    httpx.put(f"{example.http}/Weather/lone", json={"temperature": 1.5})
    page.wait_for("document.getElementById('raw-topic').textContent === 'Weather/lone'")
    raw = page.evaluate("document.getElementById('raw').textContent")
    assert isinstance(raw, str)
    event = json.loads(raw)
    assert (event["type"], event["value"]["temperature"]) == ("put", 1.5)


def test_form_writes_a_record_and_delete_takes_its_card_away(example: Example, page: Page) -> None:
    page.evaluate("document.querySelector('#own [name=name]').value = 'Müller’s roof'")
    page.evaluate("document.querySelector('#own button').click()")
    page.wait_for(f"{shown('muller-s-roof', 'temperature')} === '21.5'")
    name = f"{card_of('muller-s-roof')}.querySelector('h3').textContent"
    page.wait_for(f"{name} === 'Müller’s roof'")
    assert httpx.delete(f"{example.http}/Weather/muller-s-roof").is_success
    page.wait_for(f"{card_of('muller-s-roof')} === null")


def test_commands_name_the_real_ports(example: Example, page: Page) -> None:
    page.wait_for(
        "document.getElementById('commands').textContent"
        f".includes('-h 127.0.0.1 -p {example.mqtt_port} ')"
    )
    commands = page.evaluate("document.getElementById('commands').textContent")
    assert f"curl -X PUT {example.http}/Weather/" in str(commands)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupt_and_closed_terminal_end_replay_and_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whoever started the example has nothing left to end, and no directory to remove."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    running = start_example(tmp_path / "errors.log")
    assert list(temporary.iterdir()) != []
    assert stop_example(running, number) == 0, (tmp_path / "errors.log").read_text()
    assert list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(running.server_pid, 0)
