"""Every normative statement of MQTT 3.1.1 and of MQTT 5.0, and what shows that it is kept.

The text of each is our own short one; the standard's is at its number. Whoever adds a test for
a statement names it here and makes the page anew: ``python -m
tests.protocols.mqtt.conformance.page``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Binds = Literal["server", "client", "both"]

NOT_OURS: Final = "Not ours: the bridge, `pub` and `sub` speak through Eclipse Paho."
"""Of statements that bind clients only, beside what the server does where they break them."""

_FOLDERS: Final = {
    "e2e": "tests/e2e",
    "sessions": "tests/sessions",
    "delivery": "tests/delivery",
    "http": "tests/protocols/http",
    "mqtt": "tests/protocols/mqtt",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One normative statement.

    Attributes:
        number: As in the standard, without ``MQTT-``.
        binds: Whom.
        text: What it demands, in our words.
        tests: Node ids of the tests that show it.
        note: A deviation, or why it does not arise; ``""`` where tests say all.
    """

    number: str
    binds: Binds
    text: str
    tests: tuple[str, ...]
    note: str = ""

    @property
    def order(self) -> tuple[int, ...]:
        """To sort by."""
        return tuple(int(part) for part in self.number.replace("-", ".").split("."))


def node_id(short: str) -> str:
    """``chapter_4:x`` is here, ``connect:x`` one folder up, ``e2e/tls:x`` elsewhere."""
    where, _, name = short.partition(":")
    folder, _, module = where.rpartition("/")
    if where.startswith("chapter_"):
        path = f"{_FOLDERS['mqtt']}/conformance"
    else:
        path = _FOLDERS[folder or "mqtt"]
    return f"{path}/test_{module}.py::test_{name}"


def server(number: str, text: str, *tests: str, note: str = "") -> Statement:
    """A statement that binds servers only."""
    return Statement(number, "server", text, tuple(map(node_id, tests)), note)


def both(number: str, text: str, *tests: str, note: str = "") -> Statement:
    """A statement that binds servers and clients."""
    return Statement(number, "both", text, tuple(map(node_id, tests)), note)


def client(number: str, text: str, *tests: str) -> Statement:
    """A statement that binds clients only; the tests show what the server does then."""
    return Statement(number, "client", text, tuple(map(node_id, tests)), NOT_OURS)
