"""``docs/mqtt-conformance.md``: ``python -m tests.protocols.mqtt.conformance.page``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.protocols.mqtt.conformance import (
    statements_3_1_1,
    statements_5_connect,
    statements_5_operation,
    statements_5_packets,
)
from tests.protocols.mqtt.conformance.statements import NOT_OURS, Statement

ROOT: Final = Path(__file__).resolve().parents[4]
PAGE: Final = ROOT / "docs/mqtt-conformance.md"

TABLES: Final[dict[str, tuple[Statement, ...]]] = {
    "5.0": (
        *statements_5_connect.STATEMENTS,
        *statements_5_packets.STATEMENTS,
        *statements_5_operation.STATEMENTS,
    ),
    "3.1.1": statements_3_1_1.STATEMENTS,
}

HEAD: Final = """\
# MQTT conformance

Every normative statement of MQTT 5.0 and of MQTT 3.1.1 by its number, with the tests that show
that it is kept, or with what is different here. The statements are in our words; those of the
standard are at [MQTT 5.0](https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html) and
[MQTT 3.1.1](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html). MQTT 3.1 numbers none.

Where a statement binds clients only, the tests show what the server does when it is broken, if
anything can; LyreDB's own clients (bridges, `lyredb pub`, `lyredb sub`) speak through Eclipse Paho.
A test is named by its module and function; modules without a folder are in `tests/protocols/mqtt`,
or in its `conformance/` when they are called `chapter_…`.

Made by `python -m tests.protocols.mqtt.conformance.page` from `tests/protocols/mqtt/conformance`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for version, statements in TABLES.items():
        parts += [f"\n## MQTT {version}\n\n", summary(statements), "\n"]
        parts += [f"{line}\n" for line in _table(statements)]
    return "".join(parts)


def summary(statements: tuple[Statement, ...]) -> str:
    """How many there are, and of what kind."""
    kinds = Counter(_kind(one) for one in statements)
    return (
        f"{len(statements)} statements: {kinds['tested']} shown by tests, "
        f"{kinds['client']} for clients only, {kinds['noted']} with a note alone.\n"
    )


def _kind(one: Statement) -> str:
    if one.binds == "client":
        return "client"
    return "tested" if one.tests else "noted"


def _table(statements: tuple[Statement, ...]) -> Iterator[str]:
    yield "| MQTT- | binds | demands | shown by | note |"
    yield "| --- | --- | --- | --- | --- |"
    for one in sorted(statements, key=lambda one: one.order):
        tests = "<br>".join(_short(test) for test in one.tests)
        note = "" if one.note == NOT_OURS else one.note
        yield f"| {one.number} | {one.binds} | {one.text} | {tests} | {note} |".replace("  ", " ")


def _short(test: str) -> str:
    path, _, name = test.partition("::test_")
    folder, _, module = path.removeprefix("tests/").rpartition("/")
    folder = folder.removeprefix("protocols/")
    where = module.removeprefix("test_").removesuffix(".py")
    if not folder.startswith("mqtt"):
        where = f"{folder}/{where}"
    return f"`{where}`: {name.replace('_', ' ')}"


def main() -> None:
    """Write it."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
