"""From a command to a process that serves until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop

from lyredb.errors import DataDirectoryInUse
from lyredb.server.collector import spare_collector
from lyredb.server.launch import Launch, Mode, prepare_launch
from lyredb.server.lifecycle import StopRequest
from lyredb.server.logs import set_up_logs_from
from lyredb.server.open_files import raise_open_files, warn_of_too_few
from lyredb.server.processes.lock import told
from lyredb.server.processes.start import supervise
from lyredb.server.ready import announce
from lyredb.server.schema_files import follow_tables, stamp_of
from lyredb.server.worker import Worker


def serve(
    folder: Path, *, mode: Mode, flags: Mapping[str, object], config: Path | None = None
) -> int:
    """Serve an application until SIGTERM or SIGINT, and return the exit code.

    SIGHUP ends it too, but has ``run`` without a terminal read its settings again.

    Args:
        folder: Of the application.
        mode: ``dev``: one process, loopback without credentials; ``run``: with them, and
            with several processes where the system can (Linux).
        flags: Options by name (``--http-port``); ``None`` is not given.
        config: A settings file that wins over the application's.

    Raises:
        LyreError: The server cannot start; nothing is left open.
    """
    launch = prepare_launch(folder, mode=mode, flags=flags, config=config, environment=os.environ)
    several = mode == "run" and sys.platform == "linux"
    set_up_logs_from(launch.settings, process="supervisor" if several else "")
    allowed = raise_open_files()
    if mode == "run":  # nobody tries out a server with thousands of clients
        warn_of_too_few(allowed, launch.settings, workers=launch.workers)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(supervise(launch) if several else _live(launch))
    return 0


async def _live(launch: Launch) -> None:
    request = StopRequest()
    request.listen()  # first: a signal during the start stops in order too
    stamp = stamp_of(launch.application.folder)
    worker = Worker(launch)
    try:
        ready = await worker.start()
    except DataDirectoryInUse as error:
        raise told(error, launch.data_dir) from error
    spare_collector()
    announce(ready, sys.stdout)
    following = asyncio.create_task(follow_tables(launch.application.folder, stamp, worker.evolve))
    try:
        await request.wait()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await worker.stop()
