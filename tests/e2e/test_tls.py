"""TLS, certificates of clients and the PROXY protocol, by real clients of a real server."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import paho.mqtt.client as paho
import pytest
import trustme
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from websockets.sync.client import connect as connect_websocket

from lyredb.protocols.net.proxy import SIGNATURE
from tests.e2e.clients import AUTHORIZATION
from tests.e2e.secure_server import port_of, secure_server
from tests.e2e.server_process import PASSWORD, SCHEMA, USER, ServerProcess, running_server
from tests.protocols.net.authority import (
    authority,
    client_context,
    client_with,
    write_revoked,
    write_server_files,
)
from tests.protocols.net.proxy_frames import proxy4
from tests.server.process_tree import children_of

DEADLINE_S = 10.0
STRANGER = "192.0.2.7"
LOGIN = {"authorization": AUTHORIZATION}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that asks clients for a certificate and takes them without."""
    with secure_server(tmp_path_factory.mktemp("tls"), mtls="true") as server:
        yield server


def https(server: ServerProcess, path: str) -> str:
    return f"https://localhost:{port_of(server, 'https')}{path}"


def eventually(holds: Callable[[], bool]) -> None:
    """Wait, with a deadline, for what no event tells."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


class Mqtts:
    """paho over TLS, on TCP or WebSocket."""

    def __init__(
        self,
        server: ServerProcess,
        context: ssl.SSLContext,
        *,
        user: str = "",
        password: str = "",
        over_websocket: bool = False,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    ) -> None:
        self.connected: queue.Queue[int] = queue.Queue()
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.subscribed: queue.Queue[bool] = queue.Queue()
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            protocol=version,
            transport="websockets" if over_websocket else "tcp",
        )
        if user:
            self.paho.username_pw_set(user, password)
        self.paho.tls_set_context(context)
        self.paho.on_connect = lambda client, data, flags, code, properties: self.connected.put(
            code.value
        )
        self.paho.on_message = lambda client, data, message: self.messages.put(message)
        self.paho.on_subscribe = lambda *_: self.subscribed.put(True)
        self._port = port_of(server, "https" if over_websocket else "mqtts")

    def __enter__(self) -> Mqtts:
        self.paho.connect("localhost", self._port)
        self.paho.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def result(self) -> int:
        return self.connected.get(timeout=DEADLINE_S)

    def subscribe(self, topic: str) -> None:
        self.paho.subscribe(topic)
        self.subscribed.get(timeout=DEADLINE_S)

    def hears(self) -> bytes:
        return bytes(self.messages.get(timeout=DEADLINE_S).payload)


def test_records_are_written_and_read_over_https(secure: ServerProcess) -> None:
    with httpx.Client(verify=client_context(), headers=LOGIN) as client:
        body = {"value": 1.5, "site": "x" * 300_000}
        assert client.put(https(secure, "/Sensor/tls"), json=body).status_code == 204
        read = client.get(https(secure, "/Sensor/tls")).json()
    assert read["site"] == body["site"]


def test_events_stream_over_https_and_wss(secure: ServerProcess) -> None:
    context = client_context()
    accept = {"accept": "text/event-stream"}
    url = https(secure, "/Sensor/event")
    with (
        httpx.Client(verify=context, headers=LOGIN, timeout=DEADLINE_S) as client,
        client.stream("GET", url, headers=accept) as stream,
        connect_websocket(
            url.replace("https", "wss"), ssl=context, additional_headers=LOGIN
        ) as socket,
    ):
        assert stream.status_code == 200
        with httpx.Client(verify=context, headers=LOGIN) as writer:
            assert writer.put(url, json={"value": 7.0}).status_code == 204
        assert any('"value":7.0' in line for line in until_data(stream))
        while '"value":7.0' not in str(message := socket.recv(timeout=DEADLINE_S)):
            assert message


def until_data(stream: httpx.Response) -> Iterator[str]:
    for line in stream.iter_lines():
        yield line
        if '"value":7.0' in line:
            return


@pytest.mark.parametrize("over_websocket", [False, True])
def test_paho_publishes_and_hears_over_tls(secure: ServerProcess, over_websocket: bool) -> None:
    topic = f"Sensor/paho{int(over_websocket)}"
    with Mqtts(
        secure, client_context(), user=USER, password=PASSWORD, over_websocket=over_websocket
    ) as client:
        assert client.result() == 0
        client.subscribe(topic)
        payload = json.dumps({"value": 2.5, "site": "y" * 200_000})
        client.paho.publish(topic, payload, qos=1)
        assert json.loads(client.hears()) == json.loads(payload)


@pytest.mark.mosquitto
def test_the_mosquitto_clients_publish_and_hear_over_tls(
    secure: ServerProcess, tmp_path: Path
) -> None:
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    where = ["-h", "localhost", "-p", str(port_of(secure, "mqtts"))]
    login = ["-u", USER, "-P", PASSWORD, "--cafile", str(tmp_path / "ca.pem")]
    published = ["-t", "Sensor/mosquitto", "-r", "-m", '{"value":9}']
    subprocess.run(["mosquitto_pub", *where, *login, *published], check=True, timeout=DEADLINE_S)
    heard = subprocess.run(
        ["mosquitto_sub", *where, *login, "-t", "Sensor/mosquitto", "-C", "1", "-W", "10"],
        check=True,
        capture_output=True,
        timeout=DEADLINE_S + 5,
    )
    assert json.loads(heard.stdout)["value"] == 9


def test_a_certificate_is_a_login_for_https(secure: ServerProcess) -> None:
    with httpx.Client(verify=client_context(name=USER)) as client:
        assert client.put(https(secure, "/Sensor/cn"), json={"value": 1.0}).status_code == 204
    with httpx.Client(verify=client_context(name="nobody")) as client:
        assert client.put(https(secure, "/Sensor/cn"), json={"value": 2.0}).status_code == 401
    with httpx.Client(verify=client_context()) as client:
        assert client.get(https(secure, "/Sensor/cn")).status_code == 401


@pytest.mark.parametrize(
    ("version", "refused"), [(MQTTProtocolVersion.MQTTv311, 5), (MQTTProtocolVersion.MQTTv5, 135)]
)
def test_a_certificate_is_a_login_for_mqtt(
    secure: ServerProcess, version: MQTTProtocolVersion, refused: int
) -> None:
    with Mqtts(secure, client_context(name=USER), version=version) as client:
        assert client.result() == 0
    with Mqtts(secure, client_context(name="nobody"), version=version) as client:
        assert client.result() in (refused, 135)  # paho gives the codes of 5 for both


def test_a_certificate_is_a_login_for_mqtt_over_websocket(secure: ServerProcess) -> None:
    with Mqtts(secure, client_context(name=USER), over_websocket=True) as client:
        assert client.result() == 0
        client.subscribe("Sensor/wss")
        client.paho.publish("Sensor/wss", b'{"value":3}', qos=1)
        assert json.loads(client.hears())["value"] == 3


def test_a_required_certificate_keeps_others_out(tmp_path: Path) -> None:
    with secure_server(tmp_path, mtls="required") as server:
        with httpx.Client(verify=client_context(name=USER)) as client:
            assert client.get(https(server, "/Sensor/")).status_code == 200
        with (
            httpx.Client(verify=client_context(), headers=LOGIN) as client,
            pytest.raises(httpx.TransportError),
        ):
            client.get(https(server, "/health"))


def test_certificates_change_under_traffic(tmp_path: Path) -> None:
    """Open connections go on, new ones get the new files, and broken ones change nothing."""
    with secure_server(tmp_path) as server:
        new = trustme.CA()
        url = https(server, "/health")
        with Mqtts(server, client_context(), user=USER, password=PASSWORD) as old:
            assert old.result() == 0
            old.subscribe("Sensor/reload")
            (tmp_path / "certificate.pem").write_text("broken")
            eventually(lambda: "do not work, the old stay" in server.errors())
            assert httpx.get(url, verify=client_context()).status_code == 200
            write_server_files(tmp_path, new)
            eventually(lambda: trusts(url, client_context(new)))
            assert not trusts(url, client_context())
            old.paho.publish("Sensor/reload", b'{"value":4}', qos=1)
            assert json.loads(old.hears())["value"] == 4


def test_a_client_whose_certificate_is_revoked_is_shut_out_at_a_reload(tmp_path: Path) -> None:
    """By each protocol; whoever has another certificate of the same authority is let in."""
    leaving, staying = (
        authority().issue_cert(f"{name}.example", common_name=USER) for name in ("a", "b")
    )
    revoked = tmp_path / "revoked.pem"
    write_revoked(revoked)
    more = {"LYREDB_TLS_CERTIFICATE_REVOCATION_LIST": str(revoked)}
    with secure_server(tmp_path, mtls="required", **more) as server:
        url = https(server, "/Sensor/")
        assert trusts(url, client_with(leaving))
        write_revoked(revoked, leaving)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: not trusts(url, client_with(leaving)))
        assert trusts(url, client_with(staying))
        with Mqtts(server, client_with(staying)) as client:
            assert client.result() == 0
        shut_out = Mqtts(server, client_with(leaving))
        ended: queue.Queue[bool] = queue.Queue()
        shut_out.paho.on_disconnect = lambda *_: ended.put(True)
        with shut_out:
            assert ended.get(timeout=DEADLINE_S)
            assert shut_out.connected.empty()


def test_a_killed_worker_comes_back_without_tls_while_the_files_are_gone(tmp_path: Path) -> None:
    """Both workers die, one after the other: plain ports serve, and TLS when it can again."""
    revoked = tmp_path / "revoked.pem"
    write_revoked(revoked)
    leaf = authority().issue_cert("a.example", common_name=USER)
    more = {
        "LYREDB_TLS_CERTIFICATE_REVOCATION_LIST": str(revoked),
        "LYREDB_THREADS_COUNT": "2",
    }
    with secure_server(tmp_path, mtls="required", **more) as server:
        url = https(server, "/Sensor/")
        assert trusts(url, client_with(leaf))
        revoked.unlink()
        for title in ("worker-1", "worker-2"):
            kill_child(server, title)
        eventually(lambda: server.errors().count("connections with TLS are refused") == 2)
        eventually(lambda: answers(server))
        assert not trusts(url, client_with(leaf))
        write_revoked(revoked)
        eventually(lambda: server.errors().count("new connections get them") == 2)
        assert trusts(url, client_with(leaf))
        assert "(code 1)" not in server.errors()


def kill_child(server: ServerProcess, title: str) -> None:
    """Kill a process, and return when another one is in its place."""
    old = children_of(server.process.pid)[title]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: children_of(server.process.pid).get(title, old) != old)


def answers(server: ServerProcess) -> bool:
    try:
        return httpx.get(f"{server.http}/Sensor/", headers=LOGIN).status_code == 200
    except httpx.TransportError:
        return False


def trusts(url: str, context: ssl.SSLContext) -> bool:
    try:
        return httpx.get(url, verify=context).status_code == 200
    except httpx.TransportError:
        return False


def test_a_start_without_files_says_which_setting() -> None:
    environment = {"LYREDB_MQTT_NETWORK_SECURE_PORT": "0"}
    with (
        pytest.raises(AssertionError, match=r"tls\.certificate"),
        running_server(SCHEMA, environment=environment),
    ):
        pass


# --- PROXY


@pytest.fixture(scope="module")
def proxied() -> Iterator[ServerProcess]:
    """A server behind a proxy that lets everybody of this machine in without credentials."""
    environment = {
        "LYREDB_NETWORK_PROXY_PROTOCOL": "required",
        "LYREDB_NETWORK_MAX_CONNECTIONS_PER_ADDRESS": "2",
    }
    with running_server(SCHEMA, command="dev", environment=environment) as server:
        yield server


HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
READ = b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\n\r\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@contextmanager
def connected(server: ServerProcess, data: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as sock:
        sock.sendall(data)
        yield sock


def status_of(sock: socket.socket) -> int:
    """The status of the answer, 0 when the server closes."""
    try:
        line = sock.recv(4_096).partition(b"\r\n")[0]
    except ConnectionResetError:
        return 0
    return int(line.split()[1]) if line else 0


def test_the_address_behind_a_proxy_decides_what_is_local(proxied: ServerProcess) -> None:
    with connected(proxied, proxy4(STRANGER, 51_000) + READ) as sock:
        assert status_of(sock) == 401
    with connected(proxied, proxy4("127.0.0.1", 51_000) + READ) as sock:
        assert status_of(sock) == 200
    with connected(proxied, LOCAL + READ) as sock:
        assert status_of(sock) == 200


def test_without_the_header_nobody_is_answered(proxied: ServerProcess) -> None:
    with connected(proxied, HEALTH) as sock:
        assert status_of(sock) == 0


def test_the_operations_port_is_no_proxys(proxied: ServerProcess) -> None:
    assert httpx.get(f"{proxied.ready['operations']}/health").status_code == 200


def test_limits_count_the_address_behind_the_proxy(proxied: ServerProcess) -> None:
    header = proxy4("192.0.2.9", 51_000)
    with connected(proxied, header + HEALTH) as one, connected(proxied, header + HEALTH) as two:
        assert (status_of(one), status_of(two)) == (200, 200)
        with connected(proxied, header + HEALTH) as three:
            assert status_of(three) == 0
        with connected(proxied, proxy4("192.0.2.10", 51_000) + HEALTH) as other:
            assert status_of(other) == 200
    eventually(lambda: status_after(proxied, header) == 200)
    assert "refused a connection of 192.0.2.9" in proxied.errors()


def status_after(server: ServerProcess, header: bytes) -> int:
    with connected(server, header + HEALTH) as sock:
        return status_of(sock)
