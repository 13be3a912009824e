"""Reading a whole table as a client does, while somebody watches the server."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.load.spec import Target
from bench.load.wrk import basic
from bench.peers.process import StartFailed

_READ_BYTES: Final = 1 << 20
_STALL_S: Final = 30.0
_WATCH_S: Final = 0.2
_MARK: Final = b'"id":'


@dataclass(frozen=True, slots=True)
class Streamed:
    """What came.

    Attributes:
        records: How many.
        size_bytes: Of the body.
        took_s: From the request to the end.
        most_bytes: The most that was seen by who watched.
    """

    records: int
    size_bytes: int
    took_s: float
    most_bytes: int


def stream(target: Target, path: str, *, watch: Callable[[], int]) -> Streamed:
    """Read an answer to its end.

    Raises:
        StartFailed: It broke, or is not 200.
    """
    connection = http.client.HTTPConnection(target.host, target.port, timeout=_STALL_S)
    began = looked = time.monotonic()
    records = size = most = 0
    tail = b""
    try:
        connection.request("GET", path, headers={"Authorization": basic(target)})
        response = connection.getresponse()
        if response.status != 200:
            raise StartFailed(f"{path}: {response.status}")
        while part := response.read(_READ_BYTES):
            size += len(part)
            joined = tail + part
            records += joined.count(_MARK)
            tail = joined[-len(_MARK) + 1 :]
            if time.monotonic() - looked > _WATCH_S:
                most, looked = max(most, watch()), time.monotonic()
    except (OSError, http.client.HTTPException) as error:
        raise StartFailed(f"{path}: {error!r}") from error
    finally:
        connection.close()
    return Streamed(records, size, time.monotonic() - began, max(most, watch()))
