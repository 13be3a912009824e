"""``lyredb sub``: subscribe at any MQTT broker, with the flags of mosquitto_sub."""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lyredb.cli import mqtt_options
from lyredb.cli.mqtt_loop import running
from lyredb.cli.mqtt_output import Output, PayloadNotJson
from lyredb.cli.mqtt_properties import properties_of
from lyredb.errors import InvalidInput, LyreError

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

TIMED_OUT: Final = 27
"""The exit code of ``-W``, as of mosquitto_sub."""


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    made = mqtt_options.Parser("sub", "Print messages, with the flags of mosquitto_sub.")
    add = made.add_argument_group("messages").add_argument
    add("-t", "--topic", dest="topics", metavar="FILTER", action="append", default=[])
    add("-T", "--filter-out", metavar="FILTER", action="append", default=[])
    add("-U", "--unsubscribe", metavar="FILTER", action="append", default=[])
    add("-C", dest="count", metavar="N", type=int, help="exit after so many")
    add("-W", dest="timeout", metavar="SECONDS", type=float, help="exit after so long (code 27)")
    add("-E", dest="exit_when_subscribed", action="store_true", help="exit when subscribed")
    add("-R", dest="no_retained", action="store_true", help="leave out retained messages")
    add("--retained-only", action="store_true", help="exit at the first that is not retained")
    add("--remove-retained", action="store_true", help="clear those that come")
    add("--random-filter", metavar="PERCENT", type=float, default=100.0)
    shape = made.add_argument_group("output").add_argument
    shape("-v", "--verbose", action="store_true", help="print the topic, too")
    shape("-F", dest="format", metavar="FORMAT", help="as of mosquitto_sub: '%%t %%j @H:@M'")
    shape("-N", dest="no_newline", action="store_true", help="no end of line after a payload")
    shape("--pretty", action="store_true", help="JSON in several lines")
    return made


def subscribe(arguments: Sequence[str]) -> int:
    """Print messages until there is a reason to stop; return the exit code.

    Raises:
        LyreError: The server cannot be reached, or refuses.
    """
    options = parser().parse_args(list(arguments))
    topic = mqtt_options.url_topic(options)
    options.topics += [topic] if topic else []
    if not (options.topics or options.unsubscribe):
        raise InvalidInput("name a topic filter with -t")
    client = mqtt_options.make_client(options, "sub")
    client.manual_ack_set(True)
    receiver = _Receiver(client, options)
    mqtt_options.connect(client, options)
    with running(client, options, receiver.fail):
        return receiver.run()


class _Receiver:
    """Prints messages. Callbacks run in paho's thread, one after the other."""

    def __init__(self, client: paho.Client, options: argparse.Namespace) -> None:
        self._options = options
        self._output = Output(_format_of(options), pretty=options.pretty)
        self._end = b"" if options.no_newline and options.format is None else b"\n"
        self._done = threading.Event()
        self._failure = ""
        self._count = 0
        self._is_connected = False
        self._subscribing: set[int] = set()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def run(self) -> int:
        """Wait for the end; return the exit code.

        Raises:
            LyreError: Something went wrong.
        """
        try:
            if not self._done.wait(self._options.timeout):
                return TIMED_OUT
        except KeyboardInterrupt:
            return 0
        if self._failure:
            raise LyreError(self._failure)
        return 0

    def fail(self, sentence: str) -> None:
        """Have whoever waits find out."""
        self._failure = self._failure or sentence
        self._done.set()

    def _warn(self, sentence: str) -> None:
        if not self._options.quiet:
            print(f"lyredb sub: {sentence}", file=sys.stderr)

    def _on_connect(
        self,
        client: paho.Client,
        _: object,
        __: paho.ConnectFlags,
        reason: ReasonCode,
        told: Properties | None,
    ) -> None:
        if reason.is_failure:
            why = mqtt_options.reason_text(reason, told)
            self.fail(f"the server refuses the connection: {why}")
            return
        self._is_connected = True
        options = self._options
        self._subscribing.clear()
        properties = properties_of(options, "subscribe")
        ends = properties_of(options, "unsubscribe")
        try:
            for filter in options.topics:
                self._note(client.subscribe(filter, options.qos, properties=properties))
            for filter in options.unsubscribe:
                client.unsubscribe(filter, ends)
        except ValueError as error:
            self.fail(f"it cannot be subscribed to: {error}")
        if not options.topics:
            self._done.set()

    def _on_disconnect(
        self,
        _: paho.Client,
        __: object,
        ___: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        """Paho connects again, which is of no use where the server took nothing the first time."""
        if reason.is_failure and not self._is_connected:
            why = mqtt_options.reason_text(reason, properties)
            self.fail(f"the server ended the connection instead of an answer: {why}")

    def _note(self, told: tuple[Any, int | None]) -> None:
        if told[1] is not None:
            self._subscribing.add(told[1])

    def _on_subscribe(
        self,
        _: paho.Client,
        __: object,
        mid: int,
        reasons: Sequence[ReasonCode],
        properties: Properties | None,
    ) -> None:
        refused = [
            mqtt_options.reason_text(reason, properties) for reason in reasons if reason.is_failure
        ]
        self._subscribing.discard(mid)
        if refused and len(self._options.topics) == 1:
            self.fail(f"the subscription is refused: {refused[0]}")
            return
        for reason in refused:
            self._warn(f"a subscription is refused: {reason}")
        if self._options.exit_when_subscribed and not self._subscribing:
            self._done.set()

    def _on_message(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        if self._done.is_set():
            return  # not acknowledged: whoever comes next gets it
        if self._options.retained_only and not message.retain:
            self._done.set()
            return
        if self._is_wanted(message):
            self._take(client, message)
        if message.qos and not self._failure:
            client.ack(message.mid, message.qos)
        if self._options.count and self._count >= self._options.count:
            self._done.set()

    def _is_wanted(self, message: paho.MQTTMessage) -> bool:
        from paho.mqtt.client import topic_matches_sub

        options = self._options
        if options.no_retained and message.retain:
            return False
        if any(topic_matches_sub(filter, message.topic) for filter in options.filter_out):
            return False
        return bool(options.random_filter >= 100 or random.random() * 100 < options.random_filter)

    def _take(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        self._count += 1
        if self._options.remove_retained and message.retain:
            client.publish(message.topic, b"", 1, retain=True)
        try:
            line = self._output.render(message, time.time_ns()) + self._end
            _write(line)
        except PayloadNotJson as error:
            self._warn(f"the payload is not valid JSON on topic {error}")
        except BrokenPipeError:
            self._done.set()
        except OSError as error:
            self.fail(f"the output cannot be written: {error.strerror}")


def _write(line: bytes) -> None:
    """Write to standard output.

    Raises:
        OSError: It cannot be written. Nothing more can be then.
    """
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except OSError:
        # What is still in the buffer is written when Python ends, and would fail once more.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def _format_of(options: argparse.Namespace) -> str:
    if options.format is not None:
        return str(options.format)
    return "%t %p" if options.verbose else "%p"
