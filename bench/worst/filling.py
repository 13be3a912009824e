"""Many records, written as a device would: retained over MQTT, acknowledged after fsync."""

from __future__ import annotations

from typing import Final

from bench.load.client import READ_BYTES, LoadFailed, MqttLogin
from bench.load.packets import publish
from bench.load.spec import Target

WINDOW: Final = 1_000
"""As many as the server takes unacknowledged (its receive maximum)."""
LEVEL: Final = 4
_PUBACK_BYTES: Final = 4
_STALL_S: Final = 10.0


def key(number: int) -> str:
    """Return the key of a record; their order is that of the numbers."""
    return f"k{number:07d}"


def fill(target: Target, records: int) -> None:
    """Write so many records of about 100 bytes.

    Raises:
        LoadFailed: The server closed the connection, or stalls.
    """
    connection = MqttLogin(LEVEL).open(target, "filling")
    try:
        connection.socket.settimeout(_STALL_S)
        for first in range(0, records, WINDOW):
            numbers = range(first, min(first + WINDOW, records))
            connection.socket.sendall(b"".join(map(_write, numbers)))
            missing = len(numbers) * _PUBACK_BYTES
            while missing:
                data = connection.socket.recv(min(missing, READ_BYTES))
                if not data:
                    raise LoadFailed("the server closed the connection")
                missing -= len(data)
    except TimeoutError as error:
        raise LoadFailed("the server stalls") from error
    finally:
        connection.close()


def _write(number: int) -> bytes:
    payload = b'{"seq":%d,"text":"%b"}' % (number, b"x" * 60)
    topic = f"Bench/{key(number)}"
    identifier = number % WINDOW + 1
    return publish(topic, payload, level=LEVEL, qos=1, retain=True, packet_id=identifier)
