"""``lyredb retained``: the retained messages of open topics, listed and cleared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lyredb.cli.clients import time_text
from lyredb.cli.columns import columns, more_text, size_text
from lyredb.cli.place import AppOption, ConfigOption, DataOption, JsonOption, find_place

retained_app = typer.Typer(
    help="List and clear the retained messages of open topics.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@retained_app.command("list")
def list_retained(
    filter: Annotated[
        str, typer.Argument(metavar="FILTER", help="A topic filter, such as 'site/+/state'.")
    ] = "#",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="At most so many; 10000 is the most.")
    ] = 1000,
    after: Annotated[
        str, typer.Option("--after", metavar="TOPIC", help="Only those behind this one.")
    ] = "",
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List retained messages by topic, without their payloads."""
    import msgspec

    from lyredb.operations.broker_requests import ListRetained, RetainedList
    from lyredb.server.administer import administer

    request = ListRetained(filter, limit, after)
    told = administer(find_place(app, data, config), request, RetainedList)
    if as_json:
        typer.echo(msgspec.json.encode(told.messages).decode())
    else:
        rows = (
            (one.topic, size_text(one.size), str(one.qos), time_text(one.since_ms))
            for one in told.messages
        )
        for line in columns(("TOPIC", "SIZE", "QOS", "SINCE"), *rows):
            typer.echo(line)
    if told.after:
        typer.echo(more_text(told.after), err=True)


@retained_app.command("clear")
def clear_retained(
    filter: Annotated[
        str, typer.Argument(metavar="FILTER", help="A topic filter; '#' is all of them.")
    ],
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete the retained messages that a filter matches; subscribers are told of each."""
    from lyredb.operations.broker_requests import Cleared, ClearRetained
    from lyredb.server.administer import administer

    request = ClearRetained(filter)
    done = administer(find_place(app, data, config), request, Cleared)
    typer.echo(f"cleared {done.count} retained messages")
