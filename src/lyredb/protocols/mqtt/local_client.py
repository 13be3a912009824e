"""A client of paho that is connected to this very process."""

from __future__ import annotations

import socket
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


class LocalClient(paho.Client):
    """Speaks MQTT 5 over a socket that it is given, anew at each connection.

    Args:
        client_id: Its identifier.
        make_socket: Returns a connected socket; called in paho's thread.
    """

    def __init__(self, client_id: str, make_socket: Callable[[], socket.socket]) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._make_socket = make_socket

    def _create_socket_connection(self) -> socket.socket:
        """Where paho would connect by TCP."""
        return self._make_socket()
