"""Who logged in, and who tried: one log line for each success and each failure.

Every protocol calls `note_login` once per decision that a password, token, cookie or
certificate led to (not for answers from memory, which repeat a decision that has its
line). The two loggers are levels of their own: whether their lines are written is decided
by ``logging.auditAuthEvents.*`` and not by ``logging.level``. Names are cut, and nothing
that a client sent is ever part of the message's text, so that no line can be forged.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

Strategy = Literal["basic", "bearer", "cookie", "certificate", "password", "session"]
"""How somebody said who it is; ``password`` is a protocol's own field, as MQTT's CONNECT."""

FAILED: Final = "lyredb.audit.failed"
SUCCESSFUL: Final = "lyredb.audit.successful"
MAX_TEXT: Final = 200
"""Longest name or path in a line: both are the client's choice."""

_failed: Final = logging.getLogger(FAILED)
_successful: Final = logging.getLogger(SUCCESSFUL)


def note_login(
    user: str,
    *,
    accepted: bool,
    strategy: Strategy,
    address: str,
    protocol: str,
    method: str = "",
    path: str = "",
) -> None:
    """Write the line of a login that was decided, if such lines are wanted.

    Args:
        user: The name that was claimed, whether it exists or not; ``""`` when unknown.
        accepted: Whether it was let in.
        strategy: See `Strategy`.
        address: The client's IP address, the real one behind a trusted proxy.
        protocol: ``http``, ``websocket``, ``mqtt``, or a plugin's name.
        method: The HTTP method, ``""`` elsewhere.
        path: The path of the request without its query, ``""`` elsewhere.
    """
    logger = _successful if accepted else _failed
    level = logging.INFO if accepted else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    details = {
        "user": user[:MAX_TEXT],
        "status": "success" if accepted else "failure",
        "strategy": strategy,
        "address": address,
        "protocol": protocol,
        "method": method,
        "path": path[:MAX_TEXT],
    }
    logger.log(level, "login", extra={name: value for name, value in details.items() if value})


def set_up_audit(*, failed: bool, successful: bool) -> None:
    """Decide which lines are written, whatever the level of the other lines is."""
    for logger, is_wanted in ((_failed, failed), (_successful, successful)):
        logger.setLevel(logging.INFO if is_wanted else logging.CRITICAL + 1)
