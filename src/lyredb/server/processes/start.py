"""``lyredb run``: what is taken before any process starts, and given back after the last."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from lyredb.errors import LyreError
from lyredb.plugins.settings import OFF
from lyredb.server.launch import Launch
from lyredb.server.lifecycle import StopRequest
from lyredb.server.listening import bind_shared
from lyredb.server.processes.lock import take_lock
from lyredb.server.processes.supervisor import Supervisor
from lyredb.server.ready import announce


async def supervise(launch: Launch) -> None:
    """Serve with several processes until told to stop.

    Raises:
        LyreError: The server cannot start; no process is left.
    """
    lock = take_lock(launch.data_dir)
    try:
        supervisor = Supervisor(launch, lock, _bind_all(launch))
    except BaseException:
        lock.release()
        raise

    def exit_now(code: int) -> None:
        supervisor.kill_all()
        os._exit(code)

    request = StopRequest(exit_now, reload=supervisor.reload)
    request.listen()
    stopped = asyncio.create_task(request.wait())
    starting = asyncio.create_task(supervisor.start())
    try:
        await asyncio.wait((stopped, starting), return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            announce(await starting, sys.stdout)
            await asyncio.wait((stopped, supervisor.lost), return_when=asyncio.FIRST_COMPLETED)
            if supervisor.lost.done():
                raise LyreError(supervisor.lost.result())
    finally:
        await supervisor.stop()
        starting.cancel()
        stopped.cancel()
        await asyncio.gather(starting, stopped, return_exceptions=True)


def _bind_all(launch: Launch) -> dict[str, list[socket.socket]]:
    """Take every port that is not off, with one socket per worker.

    Raises:
        SettingError: One cannot be had; names its setting. None is taken.
    """
    bound: dict[str, list[socket.socket]] = {}
    try:
        for row in launch.rows:
            if row.kind == "port" and launch.settings.integer(row.name) != OFF:
                bound[row.name] = bind_shared(launch.settings, row, launch.workers)
    except BaseException:
        for held in bound.values():
            for one in held:
                one.close()
        raise
    return bound
