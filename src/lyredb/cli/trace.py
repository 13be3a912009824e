"""``lyredb trace``: the packets of one MQTT client, as they come and go."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lyredb.cli.place import ConfigOption, DataOption, find_place

if TYPE_CHECKING:
    from lyredb.operations.broker_requests import TraceLine


def trace(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="The client identifier.")],
    app: Annotated[
        Path, typer.Option("--app", metavar="APP", help="The application folder of the server.")
    ] = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    count: Annotated[
        int, typer.Option("--count", min=0, metavar="N", help="Exit after so many lines; 0: never.")
    ] = 0,
) -> None:
    """Show the packets of a client of a running server, from any worker, until Ctrl-C.

    Begin before the client connects to see its CONNECT and what is answered. Passwords are
    not shown, of payloads the first 60 bytes.
    """
    from lyredb.errors import LyreError
    from lyredb.operations.broker_requests import (
        ReadTrace,
        StartTrace,
        StopTrace,
        TraceLines,
        TraceStarted,
    )
    from lyredb.server.administer import require_server
    from lyredb.server.control_client import ask_server

    path = require_server(find_place(app, data, config))
    number = ask_server(path, StartTrace(client), TraceStarted).trace
    typer.echo(f"lyredb: waits for packets of {client}; Ctrl-C ends it", err=True)
    left = count
    try:
        while True:
            told = ask_server(path, ReadTrace(number), TraceLines)
            for line in told.lines[: left or None]:
                typer.echo(_text(line))
            if told.dropped:
                typer.echo(f"lyredb: {told.dropped} packets are not shown: too many", err=True)
            if count and (left := left - len(told.lines)) <= 0:
                return
    except KeyboardInterrupt:
        pass
    finally:
        with suppress(LyreError):  # it ends by itself when the server is gone
            ask_server(path, StopTrace(number), type(None))


def _text(line: TraceLine) -> str:
    when = datetime.fromtimestamp(line.at_ms / 1000).astimezone()
    return f"{when.strftime('%H:%M:%S')}.{line.at_ms % 1000:03} {line.direction} {line.text}"
