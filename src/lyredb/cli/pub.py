"""``lyredb pub``: publish to any MQTT broker, with the flags of mosquitto_pub."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lyredb.cli import mqtt_options
from lyredb.cli.mqtt_loop import running
from lyredb.cli.mqtt_properties import properties_of
from lyredb.errors import InvalidInput, LyreError

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

MAX_WAITING: Final = 1_000
"""Messages that wait for the server; the next line of standard input is read after that."""
_NOT_FOUND: Final = 0x92
"""Paho takes no heed of a PUBREC that refuses, and asks for the rest of it: this answers."""
CONNECT_S: Final = 30.0
"""For the server to answer the CONNECT."""


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    made = mqtt_options.Parser("pub", "Publish a message, with the flags of mosquitto_pub.")
    add = made.add_argument_group("message").add_argument
    add("-t", "--topic", metavar="TOPIC")
    what = made.add_mutually_exclusive_group()
    what.add_argument("-m", "--message", metavar="TEXT", help="the payload")
    what.add_argument("-f", "--file", metavar="FILE", type=Path, help="…is the file")
    what.add_argument("-s", "--stdin-file", action="store_true", help="…is standard input")
    what.add_argument("-l", "--stdin-line", action="store_true", help="each line of it is one")
    what.add_argument("-n", "--null-message", action="store_true", help="…is empty")
    add("-r", "--retain", action="store_true")
    add("-M", dest="max_inflight", metavar="N", type=int, default=20, help="in flight")
    add("--repeat", metavar="N", type=int, default=1)
    add("--repeat-delay", metavar="SECONDS", type=float, default=0.0)
    return made


def publish(arguments: Sequence[str]) -> int:
    """Publish what the options say; return the exit code.

    Raises:
        LyreError: The server cannot be reached, refuses, or goes away.
    """
    options = parser().parse_args(list(arguments))
    options.topic = mqtt_options.url_topic(options) or options.topic
    if not options.topic:
        raise InvalidInput("name the topic with -t")
    client = mqtt_options.make_client(options, "pub")
    client.max_inflight_messages_set(options.max_inflight)
    sender = _Sender(client, options)
    mqtt_options.connect(client, options)
    with running(client, options, sender.fail):
        return sender.run()


class _Sender:
    """Publishes, and waits until the server has everything. Callbacks run in paho's thread."""

    def __init__(self, client: paho.Client, options: argparse.Namespace) -> None:
        self._client = client
        self._options = options
        self._properties = properties_of(options, "publish")
        self._connected = threading.Event()
        self._room = threading.Semaphore(MAX_WAITING)
        self._failure = ""
        self._has_problem = False
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def run(self) -> int:
        """Publish everything; return the exit code."""
        if not self._connected.wait(CONNECT_S):
            raise LyreError("the server does not answer")
        for payload in self._payloads():
            self._send(payload)
        for _ in range(MAX_WAITING):  # all places are free again: nothing waits
            self._room.acquire()
            self._check()
        return int(self._has_problem)

    def _send(self, payload: bytes) -> None:
        self._check()
        self._room.acquire()
        self._check()
        options = self._options
        try:
            self._client.publish(
                options.topic, payload, options.qos, options.retain, self._properties
            )
        except ValueError as error:
            raise InvalidInput(f"it cannot be published: {error}") from error

    def _check(self) -> None:
        if self._failure:
            raise LyreError(self._failure)

    def _payloads(self) -> Iterator[bytes]:
        options = self._options
        if options.stdin_line:
            yield from (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
            return
        payload = _payload_of(options)
        for number in range(options.repeat):
            if number:
                time.sleep(options.repeat_delay)
            yield payload

    def fail(self, sentence: str) -> None:
        """Have whoever waits find out."""
        self._failure = self._failure or sentence
        self._connected.set()
        self._room.release(MAX_WAITING)

    def _on_connect(
        self,
        _: paho.Client,
        __: object,
        ___: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            why = mqtt_options.reason_text(reason, properties)
            self.fail(f"the server refuses the connection: {why}")
        self._connected.set()

    def _on_disconnect(
        self,
        _: paho.Client,
        __: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            by = "server" if flags.is_disconnect_packet_from_server else "connection"
            self.fail(f"the {by} ended it: {mqtt_options.reason_text(reason, properties)}")

    def _on_publish(
        self,
        _: paho.Client,
        __: object,
        mid: int,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._has_problem = True
            if not self._options.quiet:
                why = mqtt_options.reason_text(reason, properties)
                if reason.value == _NOT_FOUND and self._options.qos == 2:
                    why = "paho keeps to itself why at QoS 2; -q 1 tells"
                print(f"lyredb pub: message {mid} was refused: {why}", file=sys.stderr)
        self._room.release()


def _payload_of(options: argparse.Namespace) -> bytes:
    if options.message is not None:
        return os.fsencode(options.message)
    if options.stdin_file:
        return sys.stdin.buffer.read()
    if options.file is not None:
        try:
            return bytes(options.file.read_bytes())
        except OSError as error:
            raise InvalidInput(f"the file cannot be read: {error.strerror}") from error
    if options.null_message:
        return b""
    raise InvalidInput("say what to publish: -m, -f, -s, -l or -n")
