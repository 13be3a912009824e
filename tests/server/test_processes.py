"""A server of several processes: who answers, who dies, who comes back, who is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from lyredb.server.control_client import is_served
from tests.server.process import Server, environment, free_ports, make_application, run_lyredb
from tests.server.process_tree import (
    assert_all_end,
    children_of,
    descriptors_of,
    eventually,
    is_alive,
)

LOGIN = ("admin", "pw")
VARIABLES = {"LYREDB_ADMIN_PASSWORD": "pw", "LYREDB_THREADS_TELL": "true"}
SERVES_S = 10.0


def two_workers(tmp_path: Path, *options: str, config: str = "") -> Server:
    app = make_application(tmp_path, config=config)
    return Server("run", app, "--workers", "2", *options, variables=VARIABLES)


def lyredb_in_background(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lyredb", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def answering(server: Server) -> int:
    """The worker that takes a new connection."""
    return int(httpx.get(f"{server.http}/health", timeout=SERVES_S).headers["x-lyredb-worker"])


def assert_both_answer(server: Server) -> None:
    """Each new connection goes to one or the other: 60 that all miss one are no chance."""
    seen: set[int] = set()
    for _ in range(60):
        seen.add(answering(server))
        if seen == {1, 2}:
            return
    raise AssertionError(f"only {seen} answered")


@contextmanager
def client_of(server: Server, worker: int) -> Iterator[httpx.Client]:
    """A client whose one connection is with a worker."""
    for _ in range(60):
        with httpx.Client(base_url=server.http, auth=LOGIN, timeout=SERVES_S) as client:
            if client.get("/health").headers["x-lyredb-worker"] == str(worker):
                yield client
                return
    raise AssertionError(f"worker {worker} never answered")


def put(client: httpx.Client, key: str, value: float) -> bool:
    """Whether a write was acknowledged; 503 is the only other answer that may be."""
    response = client.put(f"/Sensor/{key}", json={"value": value})
    assert response.status_code in {201, 204, 503}, response.text
    return response.status_code != 503


def assert_another(server: Server, title: str, old: int) -> None:
    """The supervisor has a new process in the place of an old one."""
    eventually(lambda: children_of(server.process.pid).get(title, old) != old, f"another {title}")


def eventually_put(client: httpx.Client, key: str, value: float) -> None:
    eventually(lambda: put(client, key, value), "a write that is acknowledged")


def test_both_workers_answer_and_see_each_others_writes(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        assert server.ready["workers"] == 2
        assert server.ready["pid"] == server.process.pid
        assert set(children_of(server.process.pid)) == {"writer", "worker-1", "worker-2"}
        assert_both_answer(server)
        with client_of(server, 1) as one, client_of(server, 2) as two:
            one.put("/Sensor/a", json={"value": 1.5}).raise_for_status()
            assert two.get("/Sensor/a").json()["value"] == 1.5
            two.put("/Sensor/a", json={"value": 2.5}).raise_for_status()
            assert one.get("/Sensor/a").json()["value"] == 2.5


def test_one_worker_is_a_server_too(tmp_path: Path) -> None:
    app = make_application(tmp_path)
    with Server("run", app, "--workers", "1", variables=VARIABLES) as server:
        assert server.ready["workers"] == 1
        assert set(children_of(server.process.pid)) == {"writer", "worker-1"}
        assert answering(server) == 1
        put_at = httpx.put(f"{server.http}/Sensor/a", json={"value": 1.5}, auth=LOGIN)
        assert put_at.status_code in {201, 204}


def test_a_killed_worker_comes_back_while_the_other_serves(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server, client_of(server, 2) as two:
        before = children_of(server.process.pid)
        os.kill(before["worker-1"], signal.SIGKILL)
        for number in range(50):  # the connection of the other one never notices
            two.put("/Sensor/a", json={"value": float(number)}).raise_for_status()
        eventually(
            lambda: (
                children_of(server.process.pid).get("worker-1", 0) not in {0, before["worker-1"]}
            ),
            "another worker 1",
        )
        assert_both_answer(server)
        with client_of(server, 1) as one:
            assert one.get("/Sensor/a").json()["value"] == 49.0
            eventually_put(one, "b", 1.0)
        after = children_of(server.process.pid)
        assert (after["writer"], after["worker-2"]) == (before["writer"], before["worker-2"])


def test_whoever_connects_while_a_worker_is_dead_is_served_by_the_next(tmp_path: Path) -> None:
    """The supervisor keeps each port: no connection is refused, none is reset unanswered."""
    with two_workers(tmp_path) as server:
        for _ in range(3):
            os.kill(children_of(server.process.pid)["worker-1"], signal.SIGKILL)
            assert {answering(server) for _ in range(30)} <= {1, 2}
            eventually(lambda: "worker-1" in children_of(server.process.pid), "another worker 1")


def test_a_killed_writer_comes_back_and_loses_nothing(tmp_path: Path) -> None:
    """Workers answer reads meanwhile, writes with 503, and keep their connections."""
    with two_workers(tmp_path) as server, client_of(server, 1) as one, client_of(server, 2) as two:
        acknowledged: dict[str, float] = {}
        for turn in range(3):
            before = children_of(server.process.pid)
            for number in range(20):
                key = f"k{turn}-{number}"
                if number == 10:
                    os.kill(before["writer"], signal.SIGKILL)
                if put(one, key, float(number)):
                    acknowledged[key] = float(number)
                assert two.get("/Sensor/").status_code == 200
            eventually_put(one, f"after{turn}", 1.0)
            eventually_put(two, f"after{turn}", 2.0)
            after = children_of(server.process.pid)
            assert after["writer"] != before["writer"]
            assert after["worker-1"] == before["worker-1"]
        for key, value in acknowledged.items():
            assert two.get(f"/Sensor/{key}").json()["value"] == value


def test_commands_wait_for_a_writer_that_is_started_again(tmp_path: Path) -> None:
    """They neither say that there is no server nor work beside it; a stopped successor gives
    them the time to come too early."""
    with two_workers(tmp_path) as server:
        data = str(tmp_path / "app" / "data")
        supervisor, writer = server.process.pid, children_of(server.process.pid)["writer"]
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(writer, signal.SIGKILL)
        eventually(lambda: not is_served(Path(data)), "a socket without a writer")
        asked = [lyredb_in_background("status", "--data", data)]
        asked.append(lyredb_in_background("role", "set", "reader", "data.*=read", "--data", data))
        try:
            for command in asked:  # each has found nobody, and waits
                with pytest.raises(subprocess.TimeoutExpired):
                    command.wait(1.5)
        finally:
            os.kill(supervisor, signal.SIGCONT)
        told = [command.communicate(timeout=20)[0] for command in asked]
        assert [command.returncode for command in asked] == [0, 0], told
        assert "ready (1 restarts)" in told[0]
        assert told[1] == "set the role reader\n"


def test_writes_beyond_what_may_wait_are_refused_and_told_when_to_come_back(
    tmp_path: Path,
) -> None:
    """While the writer stands still one waits, and a second has no room."""
    app = make_application(tmp_path, config="storage.maxWaitingSize: 1kB\nthreads.maxSilence: 60s")
    with (
        Server("run", app, variables=VARIABLES) as server,
        httpx.Client(base_url=server.http, auth=LOGIN, timeout=SERVES_S) as client,
    ):
        writer = children_of(server.process.pid)["writer"]
        assert put(client, "known", 1.0), "the login is remembered"
        answers: list[httpx.Response] = []

        def put_much(number: int) -> None:
            body = {"value": 1.0, "text": "x" * 900}
            answers.append(
                httpx.put(f"{server.http}/Sensor/{number}", json=body, auth=LOGIN, timeout=30)
            )

        both = [threading.Thread(target=put_much, args=(number,)) for number in range(2)]
        os.kill(writer, signal.SIGSTOP)
        try:
            for one in both:
                one.start()
            eventually(lambda: bool(answers), "a refusal")
        finally:
            os.kill(writer, signal.SIGCONT)
        for one in both:
            one.join()
        refused, done = answers
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert done.status_code == 204


def test_when_the_supervisor_is_killed_nobody_is_left_and_all_is_free(tmp_path: Path) -> None:
    with two_workers(tmp_path) as server:
        pids = list(children_of(server.process.pid).values())
        httpx.put(f"{server.http}/Sensor/a", json={"value": 1.5}, auth=LOGIN).raise_for_status()
        server.process.kill()
        server.process.wait(10)
        ports = ("--http-port", str(server.port("http")), "--mqtt-port", str(server.port("mqtt")))
        app = tmp_path / "app"
        with Server("run", app, "--workers", "2", *ports, variables=VARIABLES) as again:
            # The new one waits until the last of the old ones is gone.
            assert not any(map(is_alive, pids))
            found = httpx.get(f"{again.http}/Sensor/a", auth=LOGIN)
            assert found.json()["value"] == 1.5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_processes_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with two_workers(tmp_path) as server, client_of(server, 1) as one:
        pids = list(children_of(server.process.pid).values())
        one.put("/Sensor/a", json={"value": 1.5}).raise_for_status()
        code, seconds = server.stop(number)
        assert code == 0, server.log.read_text()
        assert seconds < 5.0
        assert_all_end(pids)
        for word in ("error", "took longer", "Traceback"):
            assert word not in server.log.read_text()


def test_a_signal_to_the_whole_group_is_one_to_the_supervisor(tmp_path: Path) -> None:
    """Ctrl-C, and systemd's default: children wait for the supervisor's word all the same."""
    app = make_application(tmp_path)
    with Server(
        "run", app, "--workers", "2", variables=VARIABLES, start_new_session=True
    ) as server:
        httpx.put(f"{server.http}/Sensor/a", json={"value": 1.5}, auth=LOGIN).raise_for_status()
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(10) == 0
        assert "error" not in server.log.read_text()


def test_a_signal_during_the_start_ends_it_in_order_too(tmp_path: Path) -> None:
    app = make_application(tmp_path)
    arguments = ("run", str(app), "--workers", "2", *free_ports())
    starting = subprocess.Popen(
        [sys.executable, "-m", "lyredb", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    eventually(lambda: len(children_of(starting.pid)) == 3, "its children")
    pids = list(children_of(starting.pid).values())
    starting.send_signal(signal.SIGTERM)
    _, errors = starting.communicate(timeout=20)
    assert starting.returncode == 0, errors
    assert_all_end(pids)
    assert b"Traceback" not in errors


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    """While a request is in flight, which the first signal waits for."""
    with two_workers(tmp_path) as server:
        pids = list(children_of(server.process.pid).values())
        with socket.create_connection(("127.0.0.1", server.port("http")), timeout=10) as client:
            client.sendall(
                b"PUT /Sensor/a HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Basic YWRtaW46cHc=\r\n"
                b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
            )
            # Another connection's answer: the first one's bytes were read by whoever has it.
            for _ in range(10):
                answering(server)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: len(children_of(server.process.pid)) < 3, "the first end", 5.0)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(5) == 128 + signal.SIGTERM
        assert_all_end(pids)


def test_a_silent_worker_is_killed_and_replaced(tmp_path: Path) -> None:
    with two_workers(tmp_path, config="threads.maxSilence: 1s\n") as server:
        before = children_of(server.process.pid)
        os.kill(before["worker-2"], signal.SIGSTOP)
        eventually(lambda: not is_alive(before["worker-2"]), "the end of the silent worker")
        eventually(lambda: "worker-2" in children_of(server.process.pid), "another worker 2")
        assert_both_answer(server)
        assert "worker 2 was silent" in server.log.read_text()


def test_what_keeps_the_writer_from_starting_is_one_sentence(tmp_path: Path) -> None:
    """An error of a child is told as one of this process, and no process is left."""
    app = make_application(tmp_path)
    with two_workers_of(app) as server:
        httpx.put(f"{server.http}/Sensor/a", json={"value": 1.5}, auth=LOGIN).raise_for_status()
        server.stop()
    (app / "schema.graphql").write_text(
        "type Sensor @table @export { id: Int @primaryKey value: Float! }"
    )
    ports = ("--http-port", "0", "--mqtt-port", "0", "--operations-port", "0", "--workers", "2")
    done = run_lyredb("run", str(app), *ports)
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lyredb: table data.Sensor has 1 records")
    assert "Traceback" not in done.stderr


def two_workers_of(app: Path) -> Server:
    return Server("run", app, "--workers", "2", variables=VARIABLES)


def test_a_second_server_on_the_directory_or_a_port_is_refused(tmp_path: Path) -> None:
    """SO_REUSEPORT would let it in on the ports: half of the connections would go astray."""
    app = make_application(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with two_workers_of(app) as server:
        free = ("--mqtt-port", "0", "--operations-port", "0", "--workers", "2")
        same_data = run_lyredb("run", str(app), "--http-port", "0", *free)
        assert same_data.returncode == 1
        assert str(server.process.pid) in same_data.stderr
        assert str(app / "data") in same_data.stderr
        same_port = run_lyredb("run", str(other), "--http-port", str(server.port("http")), *free)
        assert same_port.returncode == 1
        assert "in use" in same_port.stderr
        assert "--http-port" in same_port.stderr
        assert_both_answer(server)


def test_restarts_leave_no_descriptor_behind(tmp_path: Path) -> None:
    """In the supervisor, and in the worker that stays."""
    with two_workers(tmp_path) as server:
        stays = children_of(server.process.pid)["worker-1"]

        def restart(title: str) -> None:
            old = children_of(server.process.pid)[title]
            os.kill(old, signal.SIGKILL)
            assert_another(server, title, old)
            assert_both_answer(server)
            with client_of(server, 1) as one, client_of(server, 2) as two:
                eventually_put(one, "a", 1.0)
                eventually_put(two, "a", 1.0)

        def counts() -> tuple[int, int]:
            return descriptors_of(server.process.pid), descriptors_of(stays)

        restart("worker-2")
        restart("writer")
        before = counts()
        restart("worker-2")
        restart("writer")
        eventually(lambda: counts() <= before, f"no more descriptors than {before}")


def test_writes_go_on_while_workers_are_killed_one_after_the_other(tmp_path: Path) -> None:
    """What was acknowledged is there afterwards, whoever died meanwhile."""
    with two_workers(tmp_path) as server:
        acknowledged: dict[str, float] = {}
        done = threading.Event()

        def write() -> None:
            number = 0
            while not done.is_set():
                number += 1
                try:
                    with httpx.Client(base_url=server.http, auth=LOGIN, timeout=SERVES_S) as one:
                        if put(one, f"k{number % 50}", float(number)):
                            acknowledged[f"k{number % 50}"] = float(number)
                except httpx.TransportError:
                    acknowledged.pop(f"k{number % 50}", None)  # it may or may not be there

        writing = threading.Thread(target=write)
        writing.start()
        try:
            for title in ("worker-1", "worker-2", "writer", "worker-1"):
                old = children_of(server.process.pid)[title]
                os.kill(old, signal.SIGKILL)
                assert_another(server, title, old)
                assert_both_answer(server)
        finally:
            done.set()
            writing.join()
        assert acknowledged
        with client_of(server, 1) as client:
            for key, value in acknowledged.items():
                assert client.get(f"/Sensor/{key}").json()["value"] == value
