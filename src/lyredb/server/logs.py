"""Log lines on standard error: coloured for people, JSON for machines.

Rooms log through the standard library (``logging.getLogger(__name__)``) or structlog;
both end in one handler. Without `set_up_logs` (an embedded database) nothing is
configured, and the application's own logging decides.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

import structlog

_QUIET: Final = ("uvicorn", "asyncio", "websockets")
"""Libraries whose everyday lines repeat what our own say; heard at ``debug`` only."""


def set_up_logs(level: str, stream: TextIO | None = None, *, human: bool | None = None) -> None:
    """Send every log line of the process to one stream.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Standard error when not given.
        human: Coloured text, else one JSON object per line; ``None``: text when the
            stream is a terminal.
    """
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    for_people = out.isatty() if human is None else human
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(human=for_people))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING) if number > 10 else number)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _shared() -> list[structlog.typing.Processor]:
    """What happens to a line wherever it came from."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(*, human: bool) -> logging.Formatter:
    if human:
        rendered: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(colors=True, sort_keys=False)
        ]
    else:
        rendered = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )
