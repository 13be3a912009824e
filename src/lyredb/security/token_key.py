"""The key that tokens are signed with: a file of the data directory that all workers share."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from lyredb.errors import StorageFailed

FOLDER: Final = "keys"
FILE: Final = "tokens.key"
KEY_BYTES: Final = 64
"""As long as the block of SHA-256 (RFC 2104 §3: more does not help)."""


def token_key(data_dir: Path) -> bytes:
    """Return the key of a data directory, made when there is none yet.

    Processes that start at the same time get the same key: the file appears whole, and
    the first one stays.

    Raises:
        StorageFailed: The file cannot be read or made, or others than its owner can read
            it, and so could forge tokens.
    """
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder / FILE).exists():
            _make(folder)
        return _read(folder / FILE)
    except OSError as error:
        raise StorageFailed(f"{FOLDER}/{FILE}: {error.strerror}") from error


def _make(folder: Path) -> None:
    draft = folder / f".{FILE}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, folder / FILE)  # unlike a rename it never replaces another's key
    except FileExistsError:
        return
    finally:
        draft.unlink()
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StorageFailed(f"{FOLDER}/{FILE} must be for its owner alone: chmod 600 it")
        key = opened.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StorageFailed(f"{FOLDER}/{FILE} is no key: remove it and a new one is made")
    return key
