"""The settings of logs and metrics: one row each, with name, default and reason."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import Setting

OPERATION_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "logging.level",
        "info",
        "choice",
        "The least important log lines that are written (to standard error).",
        choices=("debug", "info", "warning", "error"),
        live=True,
    ),
    Setting(
        "logging.format",
        "auto",
        "choice",
        "`text` for people, `json` (an object a line) for machines; `auto` is text on a terminal.",
        choices=("auto", "text", "json"),
        live=True,
    ),
    Setting(
        "logging.maxRepeats",
        20,
        "integer",
        "How many lines of one wording are written within 10 seconds; the next one says how "
        "many were left out. A peer that causes an error a thousand times a second must not "
        "fill the disk. 0 writes all of them; `debug` lines and logins are never left out.",
        live=True,
    ),
    Setting(
        "logging.auditAuthEvents.logFailed",
        True,
        "flag",
        "A line for each login that was refused: user, strategy, address, path. On, because "
        "an attack on passwords is seen nowhere else.",
        live=True,
    ),
    Setting(
        "logging.auditAuthEvents.logSuccessful",
        False,
        "flag",
        "The same for each login that was accepted. Off, because clients that reconnect write "
        "many.",
        live=True,
    ),
    Setting(
        "metrics.anonymous",
        "loopback",
        "choice",
        "Who may read `/metrics` on the operations port without a login: clients on this "
        "machine, `everybody` (when only a monitoring network reaches the port), or `nobody`. "
        "All others need Basic credentials of a super user.",
        choices=("loopback", "everybody", "nobody"),
    ),
)
