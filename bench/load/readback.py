"""After a run of retained writes: is the last one of each topic what the server has?"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Mapping

from bench.load.client import LoadFailed, MqttLogin, NatsLogin, recv_some
from bench.load.faults import Faults
from bench.load.flow import place_of
from bench.load.frames import FrameReader, read_publish
from bench.load.spec import Target
from bench.load.wire import subject

STREAM = "BENCH"
"""The stream of JetStream that takes what is written; it keeps one message per subject."""
SAMPLES = 2_000
"""JetStream has to be asked for each subject, so of many a sample is read."""
LONGEST_S = 60.0


def compare_state(
    target: Target, wanted: Mapping[str, int], *, topic_filter: str, level: int, stall_s: float
) -> Faults:
    """Compare the last place of each topic with what the server has.

    Raises:
        LoadFailed: It cannot be read.
    """
    if target.protocol == "nats":
        return _of_stream(target, wanted)
    return _of_retained(target, wanted, topic_filter, level, stall_s)


def _of_retained(
    target: Target, wanted: Mapping[str, int], topic_filter: str, level: int, stall_s: float
) -> Faults:
    faults, found = Faults(), dict[str, int]()
    login, reader = MqttLogin(level), FrameReader()
    connection = login.open(target, "bench-check")
    login.subscribe(connection, topic_filter, 0)
    until = time.monotonic() + LONGEST_S
    try:
        while len(found) < len(wanted):
            deadline = min(until, time.monotonic() + stall_s)
            for frame in reader.feed(recv_some(connection.socket, 1 << 18, deadline)):
                message = read_publish(frame, level)
                if message.topic in wanted:  # others are of an earlier run
                    found[message.topic] = place_of(message.payload)
    except LoadFailed:
        faults.lost = len(wanted) - len(found)
    finally:
        connection.close(login.goodbye)
    faults.disordered = sum(wanted[topic] != place for topic, place in found.items())
    return faults


def _of_stream(target: Target, wanted: Mapping[str, int]) -> Faults:
    faults, login = Faults(), NatsLogin()
    connection = login.open(target, "bench-check")
    login.expect_stored(connection)
    topics = sorted(wanted)
    for topic in random.Random(1).sample(topics, min(SAMPLES, len(topics))):
        question = json.dumps({"last_by_subj": subject(topic).decode()}).encode()
        said = login.ask(connection, b"$JS.API.STREAM.MSG.GET.%b" % STREAM.encode(), question)
        message = json.loads(said).get("message")
        if message is None:
            faults.lost += 1
        else:
            place = place_of(base64.b64decode(message["data"]))
            faults.disordered += place != wanted[topic]
    connection.close()
    return faults
