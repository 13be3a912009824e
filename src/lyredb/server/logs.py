"""Log lines on standard error: coloured for people, JSON for machines.

Rooms log through the standard library (``logging.getLogger(__name__)``) or structlog;
both end in one handler. Without `set_up_logs` (an embedded database) nothing is
configured, and the application's own logging decides.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Protocol, TextIO

import structlog

from lyredb.plugins.scope import Settings
from lyredb.security.audit import set_up_audit
from lyredb.server.log_repeats import Repeats
from lyredb.server.log_stream import LogStream

_QUIET: Final = ("uvicorn", "asyncio", "websockets")
"""Libraries whose everyday lines repeat what our own say; heard at ``debug`` only."""
_UNNAMED: Final = "server"
_DEFAULT_REPEATS: Final = 20


class _Lines(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object: ...
    def isatty(self) -> bool: ...


class LineHandler(logging.StreamHandler[_Lines]):
    """Writes the lines of this process, without endless repetition.

    Args:
        stream: Where to.
        process: What each line says it is from: ``supervisor``, ``writer``, ``worker 1``.
    """

    def __init__(self, stream: _Lines, process: str) -> None:
        super().__init__(stream)
        self.process = process
        self.repeats = Repeats(_DEFAULT_REPEATS)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and before it what is to be said about lines that were left out."""
        if isinstance(self.stream, LogStream) and (lost := self.stream.take_lost()):
            super().emit(_lost_lines(lost))
        for summary in self.repeats.ended():
            super().emit(summary)
        if self.repeats.admits(record):
            super().emit(record)


def set_up_logs(
    level: str, stream: TextIO | None = None, *, form: str = "auto", process: str = ""
) -> None:
    """Send every log line of the process to one stream.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Standard error when not given.
        form: ``text``, ``json``, or ``auto``: text when the stream is a terminal.
        process: The name that each line has, ``""`` in a server of one process.
    """
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    handler = LineHandler(stream or _standard_error(), process or _UNNAMED)
    root.addHandler(handler)
    _apply(handler, level, form)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(handler.process),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _standard_error() -> _Lines:
    """Return it in a way that never waits, unless something else stands in its place."""
    try:
        return LogStream(sys.stderr.fileno())
    except (OSError, ValueError):  # a test's, or closed
        return sys.stderr


def _lost_lines(count: int) -> logging.LogRecord:
    text = "%d lines are missing here: standard error was not read"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (count,), None)


def set_up_logs_from(settings: Settings, *, process: str = "") -> None:
    """Set the logs up as the rows ``logging.*`` say."""
    set_up_logs(
        settings.text("logging.level"), form=settings.text("logging.format"), process=process
    )
    reload(settings)


def reload(settings: Settings) -> None:
    """Take the rows ``logging.*`` over; all of them may change while the server runs.

    Without `set_up_logs` only the audit changes: the handlers are the application's.
    """
    set_up_audit(
        failed=settings.flag("logging.auditAuthEvents.logFailed"),
        successful=settings.flag("logging.auditAuthEvents.logSuccessful"),
    )
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.repeats.most = settings.integer("logging.maxRepeats")
            _apply(handler, settings.text("logging.level"), settings.text("logging.format"))


def _apply(handler: LineHandler, level: str, form: str) -> None:
    """Set level and form; the handler stays, so that no line is lost meanwhile."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for_people = form == "text" or (form == "auto" and handler.stream.isatty())
    handler.setFormatter(
        _formatter(handler.process, human=for_people, colours=handler.stream.isatty())
    )
    logging.getLogger().setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING) if number > 10 else number)


def _shared(process: str) -> list[structlog.typing.Processor]:
    """What happens to a line wherever it came from."""

    def name_process(
        _logger: Any, _method: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        line.setdefault("process", process)
        return line

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
    ]


def _formatter(process: str, *, human: bool, colours: bool) -> logging.Formatter:
    if human:
        rendered: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)
        ]
    else:
        rendered = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(process), structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )
