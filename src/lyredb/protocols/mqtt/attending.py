"""What operators ask the MQTT connections of a worker: who is there, and to end one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from lyredb.operations.broker_requests import ClientEntry, ListClients
from lyredb.operations.clients import KICK, LIST
from lyredb.operations.rollcall import Attendant, packed
from lyredb.protocols.mqtt.service import Client, Service

_requests: Final = msgspec.msgpack.Decoder(ListClients)


def attend(service: Service, attendant: Attendant, worker: int) -> None:
    """Answer what operators ask from now on.

    Args:
        service: Has the connections.
        attendant: Hears the questions.
        worker: The number of this process.
    """
    attendant.on(LIST, partial(_list, service, worker))
    attendant.on(KICK, partial(_kick, service))


def _list(service: Service, worker: int, body: bytes) -> Iterable[bytes]:
    request = _requests.decode(body)
    found = (entry for _, entry in _reports(service) if _is_wanted(entry.client_id, request))
    # Those of all workers are put in order together: each tells as many as are wanted.
    first = sorted(found, key=lambda entry: entry.client_id)[: request.limit]
    return packed(replace(entry, worker=worker) for entry in first)


def _kick(service: Service, body: bytes) -> Iterator[bytes]:
    client_id = body.decode()
    for connection, entry in list(_reports(service)):
        if entry.client_id == client_id:
            connection.kick("Ended by an administrator")
            yield b""


def _reports(service: Service) -> Iterator[tuple[Client, ClientEntry]]:
    for connection in service.connections:
        entry = connection.report()
        if entry is not None:
            yield connection, entry


def _is_wanted(client_id: str, request: ListClients) -> bool:
    return client_id == request.client_id if request.client_id else client_id > request.after
