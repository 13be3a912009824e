"""Where a new password comes from: never the command line, which other users can read."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from lyredb.errors import InvalidInput


def read_password(file: Path | None) -> str:
    """Return a new password.

    Args:
        file: Its first line, ``-`` for standard input; ``None`` asks twice at the
            terminal, or reads the first line of standard input when there is none.

    Raises:
        InvalidInput: There is none, or the two differ.
    """
    if file is None and sys.stdin.isatty():
        return _ask()
    text = _first_line(file)
    if not text:
        raise InvalidInput("the password is empty")
    return text


def _ask() -> str:
    password = getpass("New password: ")
    if not password:
        raise InvalidInput("the password is empty")
    if getpass("Once more: ") != password:
        raise InvalidInput("the two passwords differ")
    return password


def _first_line(file: Path | None) -> str:
    try:
        if file is None or str(file) == "-":
            return sys.stdin.readline().rstrip("\r\n")
        with file.open(encoding="utf-8") as opened:
            return opened.readline().rstrip("\r\n")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("the password is no UTF-8 text") from error
