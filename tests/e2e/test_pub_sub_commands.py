"""``lyredb pub`` and ``lyredb sub``, beside the tools whose flags they have."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server

LYREDB = (sys.executable, "-m", "lyredb")
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="the clients of mosquitto are not installed"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server("") as running:
        yield running


def run(*command: str, stdin: bytes = b"", code: int = 0) -> bytes:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stderr if code == 1 else done.stdout


def login(server: ServerProcess) -> tuple[str, ...]:
    return "-h", "127.0.0.1", "-p", str(server.mqtt_port), "-u", USER, "-P", PASSWORD


def pub(server: ServerProcess, *flags: str, stdin: bytes = b"", code: int = 0) -> bytes:
    return run(*LYREDB, "pub", *login(server), *flags, stdin=stdin, code=code)


def sub(server: ServerProcess, *flags: str, code: int = 0) -> bytes:
    return run(*LYREDB, "sub", *login(server), *flags, code=code)


FULL = (
    *("-t", "full/topic", "-m", '{"a": 1.5}', "-q", "1", "-r", "-V", "mqttv5"),
    *("-D", "publish", "content-type", "application/json"),
    *("-D", "publish", "response-topic", "answers/7"),
    *("-D", "publish", "correlation-data", "abc"),
    *("-D", "publish", "payload-format-indicator", "1"),
    *("-D", "publish", "user-property", "k", "v"),
    *("-D", "publish", "user-property", "k2", "v2"),
)
FORMATS = (
    "%t|%p|%q|%r|%l|%x|%X|%m",
    "%C|%R|%D|%F|%P|%A|%E|%S",
    "[%20t][%-20t][%3.3t][%.4t][%020t][%5q]",
    "[%06l][%-6l][%6l][%8F][%08F]",
    r"%% @@ \\ \t \0 \a\e\n\r\v",
)


@needs_mosquitto
@pytest.mark.parametrize("format", FORMATS)
def test_a_format_prints_what_mosquitto_sub_prints(server: ServerProcess, format: str) -> None:
    pub(server, *FULL)
    flags = ("-t", "full/#", "-C", "1", "-q", "1", "-V", "mqttv5", "-F", format)
    assert sub(server, *flags) == run("mosquitto_sub", *login(server), *flags)


@needs_mosquitto
@pytest.mark.parametrize("format", ["%j", "%J"])
def test_json_has_what_that_of_mosquitto_sub_has(server: ServerProcess, format: str) -> None:
    pub(server, *FULL)
    flags = ("-t", "full/#", "-C", "1", "-q", "1", "-V", "mqttv5", "-F", format)
    ours = json.loads(sub(server, *flags))
    theirs = json.loads(run("mosquitto_sub", *login(server), *flags))
    # Its version 2.0.11 has a Z before the offset, against its own documentation.
    assert ours.pop("tst")[:10] == theirs.pop("tst")[:10]
    assert ours == theirs


def test_lines_of_standard_input_are_messages_of_their_own(server: ServerProcess) -> None:
    """All of them are there when it returns, in order: the last one is retained."""
    lines = b"".join(b"%d\n" % number for number in range(3000))
    pub(server, "-t", "lines", "-l", "-q", "1", "-r", stdin=lines)
    assert sub(server, "-t", "lines", "-C", "1", "-v") == b"lines 2999\n"


def test_the_ways_to_say_a_payload(server: ServerProcess) -> None:
    for flags, stdin, expected in (
        (("-m", "text"), b"", b"text\n"),
        (("-s",), b"all\nof it\n", b"all\nof it\n\n"),
        (("-f", "/proc/sys/kernel/ostype"), b"", b"Linux\n\n"),
    ):
        pub(server, "-t", "way", "-r", "-q", "1", *flags, stdin=stdin)
        assert sub(server, "-t", "way", "-C", "1") == expected
    pub(server, "-t", "way", "-r", "-q", "1", "-n")
    assert sub(server, "-t", "way", "-C", "1", "-W", "0.3", code=27) == b""


@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5", "3.1", "5"])
def test_each_version_is_spoken(server: ServerProcess, version: str) -> None:
    for qos in "012":
        pub(server, "-V", version, "-t", "version", "-m", f"{version} {qos}", "-q", qos, "-r")
        if qos != "0":  # else it may not be there yet
            told = sub(server, "-V", version, "-t", "version", "-C", "1", "-q", qos)
            assert told == f"{version} {qos}\n".encode()


def test_what_a_server_says_of_a_refusal_is_printed(server: ServerProcess) -> None:
    """Beside the reason code; what older versions cannot say is the code alone."""
    flags = ("-V", "mqttv5", "-t", "health/x", "-m", "x")
    told = pub(server, *flags, "-q", "1", code=1)
    assert told.startswith(b"lyredb pub: message 1 was refused: Topic name invalid (")
    assert b"-q 1 tells" in pub(server, *flags, "-q", "2", code=1)
    told = run(*LYREDB, "sub", *login(server), "-V", "mqttv5", "-t", "health/x", code=1)
    assert told.startswith(b"lyredb: the subscription is refused: Topic filter invalid (")
    told = run(*LYREDB, "sub", *login(server), "-V", "mqttv311", "-t", "health/x", code=1)
    assert told == b"lyredb: the subscription is refused: Unspecified error\n"


def test_a_url_says_where(server: ServerProcess) -> None:
    place = f"{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{server.mqtt_port}"
    run(*LYREDB, "pub", "-L", f"mqtt://{place}/by/url", "-m", "x", "-r", "-q", "1")
    told = run(*LYREDB, "sub", "-L", f"mqtt://{place}/by/url", "-C", "1", "-v")
    assert told == b"by/url x\n"


def test_topics_are_left_out_and_retained_messages_removed(server: ServerProcess) -> None:
    for topic in ("out/a", "out/b"):
        pub(server, "-t", topic, "-m", topic, "-r", "-q", "1")
    flags = ("-t", "out/#", "-T", "out/a", "-v", "-W", "1.5")
    assert sub(server, *flags, "--remove-retained", code=27) == b"out/b out/b\nout/b \n"
    assert sub(server, "-t", "out/#", "-C", "1", "-v") == b"out/a out/a\n"
    assert sub(server, "-t", "out/#", "-R", "-W", "0.3", code=27) == b""


def test_mistakes_are_a_sentence(server: ServerProcess) -> None:
    wrong = ("-h", "127.0.0.1", "-p", str(server.mqtt_port), "-u", USER, "-P", "wrong")
    told = run(*LYREDB, "pub", *wrong, "-t", "a", "-m", "x", "-V", "mqttv5", code=1)
    assert told.startswith(b"lyredb: the server refuses the connection: Bad user name")
    told = run(*LYREDB, "sub", *login(server), "-t", "a", "-F", "%z", code=1)
    assert told == b"lyredb: there is no '%z' in a format\n"
    told = run(*LYREDB, "pub", *login(server), "-t", "a/+", "-m", "x", code=1)
    assert b"it cannot be published" in told
    told = run(*LYREDB, "pub", "-h", "127.0.0.1", "-p", "1", "-t", "a", "-m", "x", code=1)
    assert told.startswith(b"lyredb: cannot connect to 127.0.0.1:1: ")
    told = run(*LYREDB, "pub", "-t", "a", "-m", "x", "-D", "publish", "bread", "1", code=1)
    assert told.startswith(b"lyredb: -D publish bread 1: there is no property bread")


def test_bytes_that_are_not_text_are_published_as_they_are(server: ServerProcess) -> None:
    """As a payload of the command line, and as one of a will."""
    done = subprocess.run(
        [*LYREDB, "pub", *login(server), "-t", "bytes", "-r", "-q", "1", "-m", b"\xff\xfe"],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert sub(server, "-t", "bytes", "-C", "1", "-F", "%x") == b"fffe\n"


def test_an_output_that_cannot_be_written_ends_sub_with_a_sentence(server: ServerProcess) -> None:
    """A full disk is a mistake; a reader that has enough is none."""
    for topic in ("output/1", "output/2"):
        pub(server, "-t", topic, "-r", "-q", "1", "-m", "x" * 10)
    command = [*LYREDB, "sub", *login(server), "-t", "output/#"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.stderr == b"lyredb: the output cannot be written: No space left on device\n"
    assert done.returncode == 1
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        assert reading.stdout.readline() == b"x" * 10 + b"\n"
        reading.stdout.close()
        pub(server, "-t", "output/3", "-m", "y", "-q", "1")
        pub(server, "-t", "output/4", "-m", "z", "-q", "1")
        assert reading.stderr.read() == b""
        assert reading.wait(30) == 0


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that answers the packets of one connection by these bytes, then ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                for answer in answers:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(listening.getsockname()[1])
        finally:
            thread.join(30)


@pytest.mark.parametrize("command", ["sub", "pub"])
def test_a_connection_that_ends_before_its_answer_is_an_error(command: str) -> None:
    with answering(b"") as port:
        flags = ("-m", "x") if command == "pub" else ()
        told = run(*LYREDB, command, "-h", "127.0.0.1", "-p", port, "-t", "a", *flags, code=1)
    assert b"ended" in told
    assert told.count(b"\n") == 1


def test_an_error_in_the_thread_of_a_client_ends_it_with_a_sentence() -> None:
    """Here a topic that is not UTF-8, which no server may send, is to be printed."""
    connack, suback = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00"
    publish = b"\x30\x04\x00\x01\xff\x78"
    with answering(connack, suback + publish) as port:
        told = run(*LYREDB, "sub", "-h", "127.0.0.1", "-p", port, "-t", "a", "-v", code=1)
    assert told.startswith(b"lyredb: the connection cannot be served: UnicodeDecodeError: ")
    assert told.count(b"\n") == 1


def test_a_count_below_zero_is_no_count_of_trace(server: ServerProcess) -> None:
    done = subprocess.run(
        [*LYREDB, "trace", "a", "--count", "-1", "--data", str(server.data)],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"--count" in done.stderr


def test_a_client_that_is_not_there_is_told_on_standard_error(server: ServerProcess) -> None:
    done = subprocess.run(
        [*LYREDB, "clients", "list", "--client", "nobody", "--data", str(server.data)],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"lyredb: there is no client nobody\n")
