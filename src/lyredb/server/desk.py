"""Where operators are served: commands and ``roles.yaml``, in the process that can write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lyredb.applications.application import ROLES_FILE
from lyredb.errors import LyreError
from lyredb.operations.administration import Administration
from lyredb.operations.broker import Broker
from lyredb.operations.broker_requests import BrokerRequest
from lyredb.operations.requests import (
    AddUser,
    Changed,
    ChangeUser,
    ImportRequest,
    ImportUsers,
    PutRoles,
    RemoveRole,
    RemoveUser,
    Request,
)
from lyredb.operations.roles_file import apply_roles_file
from lyredb.operations.status import ProcessStatus, Status
from lyredb.operations.transfer.intake import Intake
from lyredb.plugins.scope import Settings
from lyredb.security.passwords import Passwords
from lyredb.security.roles import Roles
from lyredb.security.users import Users
from lyredb.server.control import ControlSocket
from lyredb.server.launch import Launch
from lyredb.server.version import version
from lyredb.storage import meta
from lyredb.storage.engine import Engine
from lyredb.storage.sequencer import Sequencer

PASSED_S: Final = 10.0
"""How long a command waits until every worker has taken note of its change. A worker that
is silent for longer is replaced, and its successor begins with the change."""

_logger: Final = logging.getLogger(__name__)


class Desk:
    """The control socket and the roles of the application's file. `open` once, `close` once.

    Args:
        launch: What is served.
        engine: Of the writer.
        sequencer: The writer.
        broker: Knows clients and retained messages.
        passed: Returns once every worker has been told of a log position.
        processes: Tells which processes there are.
    """

    def __init__(
        self,
        launch: Launch,
        engine: Engine,
        sequencer: Sequencer,
        broker: Broker,
        *,
        passed: Callable[[int], Awaitable[None]],
        processes: Callable[[], Awaitable[Sequence[ProcessStatus]]],
    ) -> None:
        self._folder = launch.application.folder
        self._engine = engine
        self._broker = broker
        self._processes = processes
        self._passed = passed
        self._roles = Roles(engine, sequencer)
        self._passwords = Passwords()
        self._since_s = launch.since_s
        administration = Administration(
            Users(engine, sequencer),
            self._roles,
            self._passwords,
            passed=passed,
            status=self._status,
        )
        self._administration = administration
        self._intake = Intake(engine, sequencer)
        self._control = ControlSocket(launch.data_dir, self._perform)
        self._applying: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Set the roles that the application names, then take commands.

        Raises:
            InvalidInput: The file of roles is wrong: nobody shall be served by rights that
                are not those that it says.
            StorageError: They cannot be written, or the control socket not be made.
        """
        await self._apply_roles()
        await self._control.start()

    def reload(self, _: Settings) -> None:
        """Set the roles again (SIGHUP). A file that is wrong is logged, and changes nothing."""
        if self._applying is None or self._applying.done():
            self._applying = asyncio.get_running_loop().create_task(self._apply_again())

    async def close(self) -> None:
        """Take no commands any more."""
        if self._applying is not None:
            self._applying.cancel()
            await asyncio.gather(self._applying, return_exceptions=True)
        await self._control.close()
        self._passwords.close()

    async def _perform(self, request: Request) -> object:
        if isinstance(request, ImportRequest):
            return await self._intake.perform(request)
        if isinstance(request, BrokerRequest):
            return await self._broker.perform(request)
        try:
            answer = await self._administration.perform(request)
        except TimeoutError:  # a worker has not taken note of it yet: it is done
            _note(request)
            raise
        if isinstance(answer, Changed):
            _note(request)
        return answer

    async def _apply_roles(self) -> None:
        file = self._folder / ROLES_FILE
        if file.is_file():  # looked at each time: a reload may find a new one
            await self._passed(await apply_roles_file(self._roles, file))

    async def _apply_again(self) -> None:
        try:
            await self._apply_roles()
        except LyreError as error:
            _logger.error("the roles stay as they were: %s", error)

    async def _status(self) -> Status:
        numbers = self._engine.statistics()
        return Status(
            version=version(),
            format=f"{meta.FORMAT_MAJOR}.{meta.FORMAT_MINOR}",
            uptime_s=time.monotonic() - self._since_s,
            position=numbers.position,
            floor=numbers.floor,
            log_bytes=numbers.log_bytes,
            used_bytes=numbers.used_bytes,
            failure=self._engine.failure or self._engine.full,
            processes=list(await self._processes()),
        )


def _note(request: Request) -> None:
    """Write the line of a change of users or roles: whoever looks into one asks when it was.

    What was given is beside the text, as for logins, so that no line can be forged by it.
    """
    match request:
        case AddUser() | ChangeUser():
            given = {"user": request.name, "role": request.role, "active": request.active}
            if isinstance(request, ChangeUser) and request.password is not None:
                given["password"] = "changed"
        case RemoveUser():
            given = {"user": request.name}
        case ImportUsers():
            given = {"user": f"{len(request.users)} imported"}
        case PutRoles():
            given = {"role": ", ".join(request.roles)}
        case RemoveRole():
            given = {"role": request.name}
        case _:
            return
    details = {name: value for name, value in given.items() if value is not None}
    operation = type(request).__struct_config__.tag
    _logger.info("users or roles changed", extra={"operation": operation, **details})
