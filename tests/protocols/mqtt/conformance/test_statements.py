"""The table of normative statements: complete, of tests that exist, and shown in the docs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.protocols.mqtt.conformance.numbers import numbers
from tests.protocols.mqtt.conformance.page import PAGE, ROOT, TABLES, page
from tests.protocols.mqtt.conformance.statements import Statement

EVERY = [one for statements in TABLES.values() for one in statements]


@pytest.mark.parametrize("version", ["3.1.1", "5.0"])
def test_no_statement_is_missing_or_invented_or_there_twice(version: str) -> None:
    found = sorted(TABLES[version], key=lambda one: one.order)
    assert [one.number for one in found] == numbers(version)


@pytest.mark.parametrize(("version", "count"), [("3.1.1", 141), ("5.0", 251)])
def test_there_are_as_many_as_the_standard_has(version: str, count: int) -> None:
    """The list of numbers cannot lose a section unnoticed."""
    assert len(numbers(version)) == count


def test_each_statement_has_a_test_or_says_why_not() -> None:
    assert [one.number for one in EVERY if not one.tests and not one.note] == []


def test_statements_for_the_server_alone_are_tested_or_do_not_arise() -> None:
    """A new one without a test is a decision: it is added here with its note."""
    untested = {one.number for one in EVERY if one.binds != "client" and not one.tests}
    assert untested == {
        *("3.4.2-3", "3.5.2-3", "3.6.2-2", "3.6.2-3", "3.7.2-2", "3.7.2-3", "3.9.2-2"),
        *("3.11.2-1", "3.11.2-2", "3.14.2-4", "3.15.2-1", "3.15.2-2", "3.15.2-3"),
        *("4.12.0-2", "4.12.0-5", "4.12.1-2"),
    }


def test_each_test_that_is_named_is_collected() -> None:
    """By pytest itself, so that a name that is misspelt, or a file that is not taken, is found."""
    named = {test for one in EVERY for test in one.tests}
    files = sorted({test.partition("::")[0] for test in named})
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    collected = {line.partition("[")[0] for line in listed.stdout.splitlines() if "::" in line}
    assert collected, listed.stdout + listed.stderr
    assert sorted(named - collected) == []


def test_each_statement_says_what_it_demands_in_a_sentence() -> None:
    def is_sentence(one: Statement) -> bool:
        return one.text.endswith(".") and len(one.text) < 120 and "MUST" not in one.text

    assert [one.number for one in EVERY if not is_sentence(one)] == []


def test_the_page_is_as_the_table_makes_it() -> None:
    """If this fails: ``python -m tests.protocols.mqtt.conformance.page``."""
    assert PAGE.read_text(encoding="utf-8") == page()
