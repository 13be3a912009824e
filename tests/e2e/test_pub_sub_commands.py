"""``lyredb pub`` and ``lyredb sub``, beside the tools whose flags they have."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

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
    assert told.startswith(b"lyredb: -D publish bread 1: Property name must be one of")
