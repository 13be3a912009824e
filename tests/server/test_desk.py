"""What operators are served by: roles of the application, and how processes stand."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lyredb.errors import InvalidInput, LyreError
from lyredb.operations.requests import (
    AddUser,
    ChangeUser,
    GetStatus,
    ListUsers,
    PutRoles,
    RemoveRole,
    RemoveUser,
)
from lyredb.operations.status import ProcessStatus, Status, memory_of
from lyredb.server.board import Board
from lyredb.server.control_client import ask_server, is_served
from lyredb.server.desk import Desk
from lyredb.server.launch import prepare_launch
from lyredb.server.metrics.snapshot import Snapshot
from lyredb.server.node import Node
from lyredb.server.processes.messages import WRITER, ProcessStand, Stand
from lyredb.server.processes.standing import Standing
from lyredb.tables.schema import Schema

READS = "reader:\n  data:\n    Sensor: {read: true}\n"


class Office:
    """A node with a desk, whose application is a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launch = prepare_launch(folder, mode="dev", flags={}, config=None, environment={})
        self.node = Node.open(self.launch.data_dir, Schema())

        async def passed(position: int) -> None:
            self.node.tail.advance_to(position)

        async def processes() -> list[ProcessStatus]:
            return []

        store = self.node.store
        assert store is not None
        assert store.broker is not None
        self.desk = Desk(
            self.launch,
            store.engine,
            store.writer,
            store.broker,
            passed=passed,
            processes=processes,
        )

    def may_read(self) -> bool:
        """What the node decides by, which is what the log has told it."""
        return self.node.roles.rights("reader", "data.Sensor").read


def in_office(folder: Path, body: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        office = Office(folder)
        try:
            await body(office)
        finally:
            await office.desk.close()
            await office.node.close()

    asyncio.run(run())


async def reloaded(office: Office) -> None:
    office.desk.reload(office.launch.settings)
    assert office.desk._applying is not None
    await office.desk._applying


def test_roles_are_in_force_when_the_desk_is_open_and_after_each_reload(tmp_path: Path) -> None:
    file = tmp_path / "roles.yaml"

    async def body(office: Office) -> None:
        await office.desk.open()
        assert not office.may_read()
        file.write_text(READS)  # it need not have been there at the start
        await reloaded(office)
        assert office.may_read()

    in_office(tmp_path, body)


def test_a_wrong_file_keeps_the_desk_closed(tmp_path: Path) -> None:
    """Nobody is served by other rights than those that the file says."""
    (tmp_path / "roles.yaml").write_text("reader: 7\n")

    async def body(office: Office) -> None:
        with pytest.raises(InvalidInput, match=r"roles\.yaml"):
            await office.desk.open()
        assert not is_served(office.launch.data_dir)

    in_office(tmp_path, body)


def test_a_wrong_file_at_a_reload_is_logged_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "roles.yaml").write_text(READS)

    async def body(office: Office) -> None:
        await office.desk.open()
        (tmp_path / "roles.yaml").write_text("reader: 7\n")
        await reloaded(office)
        assert office.may_read()

    with caplog.at_level(logging.ERROR):
        in_office(tmp_path, body)
    assert "the roles stay as they were: roles.yaml" in caplog.text


def test_the_desk_tells_the_store_and_does_what_it_is_asked(tmp_path: Path) -> None:
    async def body(office: Office) -> None:
        await office.desk.open()
        place = office.launch.data_dir
        roles = {"reader": {"data": {"Sensor": {"read": True}}}}
        await asyncio.to_thread(ask_server, place, PutRoles(roles), dict)
        assert office.may_read()
        status = await asyncio.to_thread(ask_server, place, GetStatus(), Status)
        assert (status.position, status.failure) == (office.node.engine.position, "")

    in_office(tmp_path, body)


def test_each_change_of_users_and_roles_has_a_line_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who finds an account that nobody knows has to learn when it was made."""

    async def body(office: Office) -> None:
        await office.desk.open()
        place = office.launch.data_dir
        roles = {"reader": {"data": {"Sensor": {"read": True}}}}
        for request in (
            PutRoles(roles),
            AddUser("eve", "s3cret", "reader"),
            ChangeUser("eve", password="an0ther"),
            ChangeUser("eve", active=False),
            RemoveUser("eve"),
            RemoveRole("reader"),
        ):
            await asyncio.to_thread(ask_server, place, request, dict)
        with pytest.raises(LyreError):
            await asyncio.to_thread(ask_server, place, RemoveUser("eve"), dict)
        await asyncio.to_thread(ask_server, place, ListUsers(), list)

    with caplog.at_level(logging.INFO, "lyredb.server.desk"):
        in_office(tmp_path, body)
    names = ("operation", "user", "role", "active", "password")
    lines = [
        {name: getattr(record, name) for name in names if hasattr(record, name)}
        for record in caplog.records
        if record.message == "users or roles changed"
    ]
    assert lines == [
        {"operation": "role.put", "role": "reader"},
        {"operation": "user.add", "user": "eve", "role": "reader", "active": True},
        {"operation": "user.change", "user": "eve", "password": "changed"},
        {"operation": "user.change", "user": "eve", "active": False},
        {"operation": "user.remove", "user": "eve"},
        {"operation": "role.remove", "role": "reader"},
    ]


def test_processes_are_told_by_supervisor_board_and_themselves() -> None:
    async def body() -> None:
        board = Board.create(2)
        board.publish(1, 7)
        counts = {"http": {"connections": 3.0}, "mqtt": {"connections": 2.0}}
        told = Snapshot("worker", 1, 0.0, counts)
        standing = Standing(board, lambda: 9, lambda: [told])
        me = os.getpid()
        standing.note(
            Stand(
                me,
                (
                    ProcessStand("worker 2", 2, 0, "waiting", 4),
                    ProcessStand("worker 1", 1, me, "ready", 0),
                    ProcessStand("writer", WRITER, me, "ready", 1),
                ),
            )
        )
        supervisor, writer, first, second = await standing.processes()
        assert (supervisor.role, supervisor.pid, writer.restarts) == ("supervisor", me, 1)
        assert (first.worker, first.position, first.connections) == (1, 7, {"http": 3, "mqtt": 2})
        assert (second.pid, second.state, second.restarts) == (0, "waiting", 4)
        assert (second.memory_bytes, first.memory_bytes > 1_000_000) == (0, True)
        status = Status("1", "1.0", 0, 9, 1, 0, 0, "", [])
        assert (status.lag_of(first), status.lag_of(writer)) == (2, 0)
        board.close()

    asyncio.run(body())


def test_who_asks_before_the_supervisor_has_spoken_hears_what_it_says() -> None:
    """Commands that waited for a writer come first: half an answer would look like a whole."""

    async def body() -> None:
        board = Board.create(1)
        standing = Standing(board, lambda: 9, lambda: [])
        asked = asyncio.create_task(standing.processes())
        await asyncio.sleep(0)
        standing.note(
            Stand(os.getpid(), (ProcessStand("writer", WRITER, os.getpid(), "ready", 1),))
        )
        assert [one.role for one in await asked] == ["supervisor", "writer"]
        silent = Standing(board, lambda: 9, lambda: [])
        assert [one.role for one in await silent.processes()] == ["writer"], "nobody speaks"
        board.close()

    asyncio.run(body())


def test_memory_of_nobody_is_nothing() -> None:
    assert memory_of(2**22 + 1) == 0
