"""What ``lyredb pub`` and ``lyredb sub`` refuse before they connect, as mosquitto does."""

from __future__ import annotations

import argparse
import os
import threading
from typing import Final

from lyredb.cli.mqtt_properties import check_properties
from lyredb.errors import InvalidInput

_MAX_BYTES: Final = 0xFFFF
"""Of a string in MQTT: its length is written as two bytes."""
_SHORTEST_KEEPALIVE_S: Final = 5
_BOUNDS: Final[dict[str, tuple[str, float, float]]] = {
    "port": ("-p", 1, 0xFFFF),
    "max_inflight": ("-M", 1, 0xFFFF),
    "repeat": ("--repeat", 1, float("inf")),
    "repeat_delay": ("--repeat-delay", 0, threading.TIMEOUT_MAX),
    "count": ("-C", 1, float("inf")),
    "random_filter": ("--random-filter", 0.1, 100),
}
"""By name: the flag, the smallest and the largest value."""
_TEXTS: Final = {
    "topic": "-t",
    "topics": "-t",
    "filter_out": "-T",
    "unsubscribe": "-U",
    "will_topic": "--will-topic",
    "username": "-u",
    "id": "-i",
    "id_prefix": "-I",
}
_BYTES: Final = {"pw": "-P", "will_payload": "--will-payload"}


def check(options: argparse.Namespace) -> None:
    """Refuse options that no packet could be made of, or that contradict each other.

    Raises:
        InvalidInput: A sentence says which, and why.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    for name in _BOUNDS.keys() & given.keys():
        _check_bounds(given[name], *_BOUNDS[name])
    if not 0 < given.get("timeout", 1) <= threading.TIMEOUT_MAX:
        raise InvalidInput(f"-W takes seconds, more than 0, not {given['timeout']:g}")
    if options.keepalive and not _SHORTEST_KEEPALIVE_S <= options.keepalive <= 0xFFFF:
        raise InvalidInput(f"-k takes 5 to 65535 seconds, or 0 for none, not {options.keepalive}")
    for name in _TEXTS.keys() & given.keys():
        value = given[name]
        for text in value if isinstance(value, list) else [value]:
            _check_text(text, _TEXTS[name])
    for name in _BYTES.keys() & given.keys():
        _check_length(os.fsencode(given[name]), _BYTES[name])
    _check_will(options)
    if options.pw is not None and options.username is None:
        raise InvalidInput("a password needs a user name: -u")
    check_properties(options)


def _check_bounds(value: float, flag: str, least: float, most: float) -> None:
    if not least <= value <= most:  # as NaN is not either
        bounds = f"{least:g} or more" if most >= threading.TIMEOUT_MAX else f"{least:g} to {most:g}"
        raise InvalidInput(f"{flag} takes {bounds}, not {value}")


def _check_text(text: str, flag: str) -> None:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"what {flag} says must be UTF-8") from None
    if b"\0" in encoded:  # by way of a URL
        raise InvalidInput(f"what {flag} says must not have a null character")
    _check_length(encoded, flag)


def _check_length(value: bytes, flag: str) -> None:
    if len(value) > _MAX_BYTES:
        raise InvalidInput(f"what {flag} says is too long, {_MAX_BYTES} bytes are the most")


def _check_will(options: argparse.Namespace) -> None:
    topic = options.will_topic
    if topic is None:
        if options.will_payload is not None or options.will_retain:
            raise InvalidInput("a will needs a topic: --will-topic")
    elif not topic or "+" in topic or "#" in topic:
        raise InvalidInput(f"Invalid will topic {topic!r}: it must not be empty, nor have + or #")
