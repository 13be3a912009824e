"""A whole server as its operator meets it: ready line, logins, refusals, the end."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.server.process import Server, make_application, run_lyredb

WITHIN_S = 5.0


def assert_refused(done: subprocess.CompletedProcess[str], *phrases: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lyredb: ")
    assert "Traceback" not in done.stderr
    for phrase in phrases:
        assert phrase in last


def mqtt_connect(server: Server, *, name: str = "", password: str = "") -> socket.socket:
    """Connect with MQTT 3.1.1 and return the socket after its CONNACK was read."""
    client = socket.create_connection(("127.0.0.1", server.port("mqtt")), timeout=10)
    flags, rest = 0x02, b"\x00\x01t"
    for bit, text in ((0x80, name), (0x40, password)):
        if text:
            flags |= bit
            rest += len(text).to_bytes(2, "big") + text.encode()
    body = b"\x00\x04MQTT\x04" + bytes((flags,)) + b"\x00\x3c" + rest
    client.sendall(b"\x10" + bytes((len(body),)) + body)
    return client


def test_the_ready_line_names_ports_that_answer(tmp_path: Path) -> None:
    with Server("dev", make_application(tmp_path)) as server:
        assert server.ready["ready"] is True
        assert server.ready["pid"] == server.process.pid
        for address in (server.http, server.operations):
            health = httpx.get(f"{address}/health")
            assert (health.status_code, health.json()) == (200, {"status": "ok"})
        with mqtt_connect(server) as client:
            assert client.recv(4) == b"\x20\x02\x00\x00"


def test_the_operations_port_serves_nothing_else(tmp_path: Path) -> None:
    with Server("dev", make_application(tmp_path)) as server:
        for path in ("/", "/Sensor/", "/Sensor/a"):
            assert httpx.get(f"{server.operations}{path}").status_code == 404
        refused = httpx.put(f"{server.operations}/Sensor/a", json={"value": 1.0})
        assert refused.status_code in {404, 405}
        assert httpx.get(f"{server.http}/Sensor/a").status_code == 404


def test_dev_needs_no_credentials_on_this_machine(tmp_path: Path) -> None:
    with Server("dev", make_application(tmp_path)) as server:
        url = f"{server.http}/Sensor/a"
        assert httpx.put(url, json={"value": 1.5}).status_code in {201, 204}
        assert httpx.get(url).json()["value"] == 1.5
        assert "passwordFile" not in server.ready


@pytest.mark.parametrize(
    "header",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_dev_lets_no_web_page_of_others_in(tmp_path: Path, header: dict[str, str]) -> None:
    """A page in the developer's browser reaches loopback, under a name of its own even."""
    with Server("dev", make_application(tmp_path)) as server:
        refused = httpx.put(f"{server.http}/Sensor/a", json={"value": 1.5}, headers=header)
        assert refused.status_code in {401, 403}
        assert httpx.get(f"{server.http}/Sensor/a").status_code == 404


def test_run_wants_the_password_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    with Server("run", make_application(tmp_path)) as server:
        file = Path(server.ready["passwordFile"])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        password = file.read_text().strip()
        url = f"{server.http}/Sensor/a"
        anonymous = httpx.put(url, json={"value": 1.5})
        assert anonymous.status_code == 401
        assert anonymous.headers["WWW-Authenticate"].startswith("Basic")
        for wrong in (("admin", "wrong"), ("eve", password)):
            assert httpx.put(url, json={"value": 1.5}, auth=wrong).status_code == 401
        right = ("admin", password)
        assert httpx.put(url, json={"value": 1.5}, auth=right).status_code in {201, 204}
        assert httpx.get(url, auth=right).json()["value"] == 1.5
        with mqtt_connect(server, name="admin", password=password) as client:
            assert client.recv(4) == b"\x20\x02\x00\x00"
        with mqtt_connect(server, name="admin", password="wrong") as client:
            assert client.recv(4) == b"\x20\x02\x00\x04"
        with mqtt_connect(server) as client:
            assert client.recv(4) == b"\x20\x02\x00\x05"
        assert password not in server.log.read_text()


def test_an_admin_can_be_given_by_variables(tmp_path: Path) -> None:
    variables = {"LYREDB_ADMIN_USERNAME": "root", "LYREDB_ADMIN_PASSWORD": "g1ven"}
    with Server("run", make_application(tmp_path), variables=variables) as server:
        assert "passwordFile" not in server.ready
        found = httpx.get(f"{server.http}/Sensor/", auth=("root", "g1ven"))
        assert found.status_code == 200
        assert "g1ven" not in server.log.read_text()


def test_a_restart_keeps_records_and_the_password(tmp_path: Path) -> None:
    app = make_application(tmp_path)
    with Server("run", app) as server:
        login = ("admin", Path(server.ready["passwordFile"]).read_text().strip())
        httpx.put(f"{server.http}/Sensor/a", json={"value": 1.5}, auth=login).raise_for_status()
        server.stop()
    with Server("run", app) as server:
        assert "passwordFile" not in server.ready
        assert httpx.get(f"{server.http}/Sensor/a", auth=login).json()["value"] == 1.5


@pytest.mark.parametrize(
    ("name", "option"),
    [("http", "--http-port"), ("mqtt", "--mqtt-port"), ("operations", "--operations-port")],
)
def test_a_second_server_on_a_port_is_refused_by_name(
    tmp_path: Path, name: str, option: str
) -> None:
    with Server("dev", make_application(tmp_path)) as server:
        ports = {"--http-port": "0", "--mqtt-port": "0", "--operations-port": "0"}
        ports[option] = str(server.port(name))
        other = tmp_path / "other"
        other.mkdir()
        arguments = [part for pair in ports.items() for part in pair]
        done = run_lyredb("run", str(other), *arguments)
        assert_refused(done, f"port {server.port(name)}", "in use", option)
        assert not list(other.rglob("admin-password"))
        assert httpx.get(f"{server.http}/health").status_code == 200


def test_a_second_server_on_a_data_directory_is_refused(tmp_path: Path) -> None:
    app = make_application(tmp_path)
    with Server("dev", app) as server:
        ports = ("--http-port", "0", "--mqtt-port", "0", "--operations-port", "0")
        done = run_lyredb("dev", str(app), *ports)
        assert_refused(done, str(server.process.pid), "data directory", str(app / ".lyredb"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_server_with_code_0_within_5_seconds(
    tmp_path: Path, number: signal.Signals
) -> None:
    """With an idle HTTP connection, a stream and an MQTT client that all stay."""
    with (
        Server("dev", make_application(tmp_path)) as server,
        httpx.Client() as client,
        mqtt_connect(server) as mqtt,
    ):
        client.put(f"{server.http}/Sensor/a", json={"value": 1.5}).raise_for_status()
        headers = {"Accept": "text/event-stream"}
        with client.stream("GET", f"{server.http}/Sensor/", headers=headers) as stream:
            lines = stream.iter_lines()
            while "ready" not in next(lines):
                pass
            code, seconds = server.stop(number)
            assert code == 0, server.log.read_text()
            assert seconds < WITHIN_S
            list(lines)  # the stream ends in order: no httpx.RemoteProtocolError
        mqtt.settimeout(10)
        assert mqtt.recv(4) == b"\x20\x02\x00\x00"
        assert mqtt.recv(1) == b""


def test_an_mqtt_5_client_is_told_that_the_server_shuts_down(tmp_path: Path) -> None:
    """MQTT 5 §3.14.2.1: DISCONNECT with reason 0x8B, Server shutting down."""
    with (
        Server("dev", make_application(tmp_path)) as server,
        socket.create_connection(("127.0.0.1", server.port("mqtt")), timeout=10) as client,
    ):
        client.sendall(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01t")
        connack = client.recv(2)
        assert connack[0] == 0x20
        client.recv(connack[1], socket.MSG_WAITALL)
        server.process.send_signal(signal.SIGTERM)
        farewell = client.recv(3, socket.MSG_WAITALL)
        assert (farewell[0], farewell[2]) == (0xE0, 0x8B)
        assert server.process.wait(10) == 0


def test_a_request_in_flight_is_answered_during_the_end(tmp_path: Path) -> None:
    """Its body arrives after SIGTERM; the write is acknowledged and kept."""
    app = make_application(tmp_path)
    body = b'{"value": 1.5}'
    with Server("dev", app) as server:
        with socket.create_connection(("127.0.0.1", server.port("http")), timeout=10) as client:
            head = (
                b"PUT /Sensor/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            )
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
            # Answered over another connection: the server has read what we sent before.
            assert httpx.get(f"{server.http}/Sensor/a").status_code == 404
            server.process.send_signal(signal.SIGTERM)
            while httpx.get(f"{server.operations}/health").status_code != 503:
                assert server.process.poll() is None
            client.sendall(body[5:])
            assert client.recv(13) in {b"HTTP/1.1 201 ", b"HTTP/1.1 204 "}
        assert server.process.wait(10) == 0
    with Server("dev", app) as again:
        assert httpx.get(f"{again.http}/Sensor/a").json()["value"] == 1.5


def test_a_websocket_is_closed_as_service_restart(tmp_path: Path) -> None:
    """RFC 6455 registry: 1012, Service Restart: clients know to come back."""
    with Server("dev", make_application(tmp_path)) as server:
        url = server.http.replace("http", "ws", 1)
        with connect(f"{url}/Sensor/") as client:
            while "ready" not in str(client.recv(10)):
                pass
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        assert server.process.wait(10) == 0


def test_after_the_end_the_port_and_the_directory_are_free_at_once(tmp_path: Path) -> None:
    app = make_application(tmp_path)
    with Server("dev", app) as first:
        httpx.get(f"{first.http}/health")
        first.stop()
        with Server("dev", app, "--http-port", str(first.port("http"))) as second:
            assert second.http == first.http


def test_logs_of_a_process_are_json_lines(tmp_path: Path) -> None:
    with Server("run", make_application(tmp_path)) as server:
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert all({"level", "message", "timestamp"} <= set(line) for line in lines)
    assert any("admin-password" in json.dumps(line) for line in lines)


def test_settings_of_the_application_are_in_force(tmp_path: Path) -> None:
    app = make_application(tmp_path, config="http:\n  maxBodySize: 2kB\nlogging.level: error\n")
    with Server("dev", app) as server:
        body = {"value": 1.0, "note": "x" * 3000}
        assert httpx.put(f"{server.http}/Sensor/a", json=body).status_code == 413
        server.stop()
        assert server.log.read_text() == ""


def test_what_init_makes_runs_at_once(tmp_path: Path) -> None:
    """The page is served, and the write that it and its README show works."""
    app = tmp_path / "fresh"
    assert run_lyredb("init", str(app)).returncode == 0
    with Server("dev", app) as server:
        page = httpx.get(f"{server.http}/")
        assert page.status_code == 200
        assert "<title>fresh</title>" in page.text
        url = f"{server.http}/Sensor/kitchen"
        record = {"place": "home", "value": 21.5}
        assert httpx.put(url, json=record).status_code in {201, 204}
        found = httpx.get(url).json()
        assert {**found, **record, "id": "kitchen"} == found


def test_without_tables_every_topic_is_open(tmp_path: Path) -> None:
    app = tmp_path / "empty"
    app.mkdir()
    with Server("dev", app) as server:
        url = f"{server.http}/hello/world"
        assert httpx.put(url, json={"a": 1}).status_code in {201, 204}
        assert httpx.get(url).json() == {"a": 1}
