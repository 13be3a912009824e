"""What a server says when it is ready: a page for people, one JSON line for machines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from lyredb.plugins.scope import Address
from lyredb.server.sample import Sample


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that accepts connections.

    Attributes:
        version: Of LyreDB.
        pid: Of the process.
        http: The HTTP port.
        operations: The operations port.
        listeners: The addresses of each plugin that has its own, by name.
        application: Its name.
        tables: Names of the exported tables, as paths.
        data_dir: Where the data is.
        local: Loopback needs no credentials.
        admin: The administrator that was made now, ``""`` for none.
        password_file: Where its generated password stands.
        has_page: There is something to see at ``/``.
        sample: A record that can be written, ``None`` when none can.
        workers: How many processes serve.
    """

    version: str
    pid: int
    http: Address
    operations: Address
    listeners: Mapping[str, Sequence[Address]]
    application: str
    tables: tuple[str, ...]
    data_dir: Path
    local: bool
    admin: str = ""
    password_file: Path | None = None
    has_page: bool = False
    sample: Sample | None = None
    workers: int = 1

    def as_json(self) -> str:
        """Return one line with the addresses by their schemes."""
        line: dict[str, object] = {"ready": True, "http": str(self.http)}
        for addresses in self.listeners.values():
            for address in addresses:
                line.setdefault(address.scheme, str(address))
        line["operations"] = str(self.operations)
        line["pid"] = self.pid
        line["version"] = self.version
        line["workers"] = self.workers
        if self.password_file is not None:
            line["admin"] = self.admin
            line["passwordFile"] = str(self.password_file)
        return json.dumps(line, ensure_ascii=False)

    def tries(self) -> list[str]:
        """Return commands that work on this server as they are, in this order."""
        sample = self.sample
        if sample is None:
            return [f"curl {self.http}/health"]
        commands = []
        if self.password_file is not None:
            commands.append(f"PASSWORD=$(cat {shlex.quote(str(self.password_file))})")
        return [*commands, *self._tries_http(sample), *self._tries_mqtt(sample)]

    def _tries_http(self, sample: Sample) -> Iterator[str]:
        user = "" if self.local else f" -u {shlex.quote(self.admin or 'admin')}:$PASSWORD"
        url = f"{self.http}/{quote(sample.export.path)}"
        if sample.export.rest:
            body = shlex.quote(json.dumps(sample.record))
            kind = "-H 'Content-Type: application/json'"
            yield f"curl{user} -X PUT {url}/{sample.key} {kind} -d {body}"
            yield f"curl{user} {url}/"
        if sample.export.sse:
            yield f"curl -N{user} -H 'Accept: text/event-stream' {url}/"

    def _tries_mqtt(self, sample: Sample) -> Iterator[str]:
        addresses = self.listeners.get("mqtt", ())
        if not addresses or not sample.export.mqtt:
            return
        name = shlex.quote(self.admin or "admin")
        login = "" if self.local else f" -u {name} -P $PASSWORD"
        where = f"-h {addresses[0].host} -p {addresses[0].port}{login}"
        path = sample.export.path
        record = shlex.quote(json.dumps(sample.record))
        yield f"mosquitto_sub {where} -v -t {shlex.quote(f'{path}/#')}"
        yield f"mosquitto_pub {where} -t {shlex.quote(f'{path}/{sample.key}')} -r -m {record}"


def announce(ready: Ready, stream: TextIO) -> None:
    """Write the ready line: a page when the stream is a terminal, else JSON."""
    if stream.isatty():
        _print_page(ready, stream)
    else:
        stream.write(ready.as_json() + "\n")
        stream.flush()


def _print_page(ready: Ready, stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    console.print()
    console.print(Text(f"LyreDB {ready.version}", "bold"), Text(ready.application, "cyan"))
    grid = Table.grid(padding=(0, 2))
    for name, value in _facts(ready):
        grid.add_row(Text(f"  {name}", "dim"), Text(value))
    console.print(grid)
    console.print(Text("\nTry", "bold"))
    for command in ready.tries():
        console.print(Text(f"  {command}", "green"), soft_wrap=True)
    console.print(Text("\nCtrl-C stops.", "dim"))


def _facts(ready: Ready) -> list[tuple[str, str]]:
    facts = [("http", str(ready.http) + ("/" if ready.has_page else ""))]
    for addresses in ready.listeners.values():
        facts.extend((address.scheme, str(address)) for address in addresses)
    facts.append(("operations", f"{ready.operations}/health"))
    facts.append(("tables", ", ".join(ready.tables) or "none declared: every topic is open"))
    facts.append(("data", str(ready.data_dir)))
    if ready.workers > 1:
        facts.append(("workers", str(ready.workers)))
    if ready.local:
        facts.append(("access", "everything, from this machine only"))
    elif ready.password_file is not None:
        facts.append(("login", f"{ready.admin}, password in {ready.password_file}"))
    return facts
