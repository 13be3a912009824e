"""``lyredb clients``: who is connected and who sleeps, and ending them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lyredb.cli.columns import columns, more_text
from lyredb.cli.place import AppOption, ConfigOption, DataOption, JsonOption, find_place

if TYPE_CHECKING:
    from lyredb.operations.broker_requests import ClientEntry

clients_app = typer.Typer(
    help="List MQTT clients, end connections, delete sessions.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_STATE: Final = ("CLIENT", "USER", "STATE", "ADDRESS", "PROTOCOL", "SINCE")
_HEADING: Final = (*_STATE, "SUBSCRIPTIONS", "INFLIGHT", "WAITING")

ClientId = Annotated[str, typer.Argument(metavar="CLIENT", help="The client identifier.")]


@clients_app.command("list")
def list_clients(
    client: Annotated[
        str, typer.Option("--client", metavar="CLIENT", help="Only this client identifier.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="At most so many; 10000 is the most.")
    ] = 1000,
    after: Annotated[
        str, typer.Option("--after", metavar="CLIENT", help="Only those behind this one.")
    ] = "",
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the clients that are connected and the sessions that sleep, by identifier."""
    import msgspec

    from lyredb.operations.broker_requests import ClientList, ListClients
    from lyredb.server.administer import administer

    request = ListClients(limit=limit, after=after, client_id=client)
    told = administer(find_place(app, data, config), request, ClientList)
    if told.missing_workers:
        typer.echo(f"lyredb: {told.missing_workers} workers did not answer", err=True)
    if as_json:
        typer.echo(msgspec.json.encode(told.clients).decode())
    else:
        for line in columns(_HEADING, *map(_row, told.clients)):
            typer.echo(line)
    if client and not told.clients:
        typer.echo(f"lyredb: there is no client {client}", err=True)
    if told.after:
        typer.echo(more_text(told.after), err=True)


@clients_app.command("kick")
def kick_client(
    client: ClientId,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """End the connection of a client. It may come back; its session, if it has one, stays."""
    from lyredb.operations.broker_requests import KickClient, Kicked
    from lyredb.server.administer import administer

    administer(find_place(app, data, config), KickClient(client), Kicked)
    typer.echo(f"ended the connection of {client}")


@clients_app.command("forget")
def forget_client(
    client: ClientId,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete the session of a client and end its connection: what it has missed is gone."""
    from lyredb.operations.broker_requests import KickClient, Kicked
    from lyredb.server.administer import administer

    request = KickClient(client, forget=True)
    done = administer(find_place(app, data, config), request, Kicked)
    if done.connections:
        typer.echo(f"ended the connection of {client}")
    if done.session:
        typer.echo(f"deleted the session of {client}")


def _row(entry: ClientEntry) -> tuple[str, ...]:
    return (
        entry.client_id,
        entry.user or "-",
        "connected" if entry.connected else "sleeps",
        entry.address or "-",
        entry.protocol or "-",
        time_text(entry.since_ms),
        str(entry.subscriptions),
        str(entry.in_flight),
        str(entry.queued),
    )


def time_text(ms: int) -> str:
    """Return a moment as people read it, in UTC; ``-`` for none."""
    if not ms:
        return "-"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
