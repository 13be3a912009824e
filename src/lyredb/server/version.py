"""The version of the installed package, and in which form it is installed."""

from __future__ import annotations

from importlib.metadata import version as installed
from importlib.util import find_spec
from typing import Literal


def version() -> str:
    """Return it, such as ``0.1.0``."""
    return installed("lyredb")


def form() -> Literal["compiled", "pure Python"]:
    """Tell whether delivery and MQTT are compiled, which makes them several times faster."""
    hub = find_spec("lyredb.delivery.hub")
    is_source = hub is None or hub.origin is None or hub.origin.endswith(".py")
    return "pure Python" if is_source else "compiled"
