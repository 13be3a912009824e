"""Fixtures of the end-to-end tests: one server for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.server_process import ServerProcess, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with the tables Sensor, Counter and Sealed."""
    with running_server() as process:
        yield process
