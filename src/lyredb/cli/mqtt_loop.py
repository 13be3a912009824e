"""The thread of paho that serves a client of ``lyredb pub`` or ``lyredb sub``."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lyredb.cli.mqtt_properties import properties_of

if TYPE_CHECKING:
    import paho.mqtt.client as paho


@contextmanager
def running(
    client: paho.Client, options: argparse.Namespace, fail: Callable[[str], None]
) -> Iterator[None]:
    """Serve a client that connects, in paho's thread, and disconnect it at the end.

    Args:
        client: `mqtt_options.connect` was called for it.
        options: Those of the command.
        fail: Takes a sentence; called in that thread when an error ends it, since whoever
            waits for the server would wait for ever.
    """

    def tell(ended: threading.ExceptHookArgs) -> None:
        if options.debug:
            threading.__excepthook__(ended)
        fail(f"the connection cannot be served: {ended.exc_type.__name__}: {ended.exc_value}")

    before, threading.excepthook = threading.excepthook, tell
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect(properties=properties_of(options, "disconnect"))
        client.loop_stop()
        threading.excepthook = before
