"""Files of an application's ``web/`` folder (RFC 9110 §8.8, §13).

Nothing outside of the folder is ever served, neither by ``..`` nor through a symbolic
link, nor a name that begins with a dot. Small files are kept in memory until they
change; reading is done off the loop.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from lyredb.errors import InvalidTopic, UnsupportedOperation
from lyredb.protocols.http.compression import PIECE_BYTES
from lyredb.protocols.http.entity_tags import matches_weakly
from lyredb.protocols.http.request import Request

_INDEX: Final = "index.html"
_CHUNK_BYTES: Final = 256 * 1024
_MAX_CACHED_BYTES: Final = 1_000_000
_MAX_CACHED_FILES: Final = 64
_TEXT: Final = ("text/", "application/javascript", "application/json", "image/svg+xml")
_TYPES: Final = {
    # What Python's table leaves to the machine's, and pages cannot do without.
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when looked at."""

    path: Path
    size: int
    modified_ns: int

    @property
    def etag(self) -> str:
        """Changes whenever the file does."""
        return f'"{self.modified_ns:x}-{self.size:x}"'

    @property
    def head(self) -> bytes:
        """The header lines that describe it."""
        modified = formatdate(self.modified_ns // 1_000_000_000, usegmt=True)
        return (
            f"content-type: {content_type_of(self.path)}\r\netag: {self.etag}\r\n"
            f"last-modified: {modified}\r\ncache-control: no-cache\r\n"
        ).encode("ascii")


def content_type_of(path: Path) -> str:
    """The media type by the name's ending, text with its charset."""
    suffix = path.suffix.lower()
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind


class StaticFiles:
    """Serves a folder.

    Args:
        folder: Exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._cache: dict[File, bytes] = {}

    def wants(self, request: Request) -> bool:
        """Tell whether there is such a file."""
        return not request.is_websocket and self._find(request.path) is not None

    async def answer(self, request: Request) -> None:
        """Send the file, or 304 when the client has it."""
        if request.method not in ("GET", "HEAD"):
            raise UnsupportedOperation("a file can only be read", allowed=("GET", "HEAD"))
        found = self._find(request.path)
        if found is None:
            raise InvalidTopic("the file has just gone")
        if isinstance(found, str):
            request.respond(308, b"location: " + found.encode() + b"\r\n")
            return
        if is_known(request, found):
            request.respond(304, found.head)
        elif found.size > _MAX_CACHED_BYTES:
            await self._stream(request, found)
        else:
            request.respond(200, found.head, await self._content(found))

    def _find(self, path: str) -> File | str | None:
        """The file, or the place to go for a folder without its slash."""
        parts = path.split("/")
        is_folder = parts[-1] == ""
        names = parts[:-1] if is_folder else parts
        if any(not name or name[0] == "." or "\0" in name or "\\" in name for name in names):
            return None
        try:
            real = self._folder.joinpath(*names).resolve(strict=True)
            if not real.is_relative_to(self._folder):
                return None
            status = os.stat(real)
            if S_ISDIR(status.st_mode):
                if not is_folder:
                    return f"{names[-1]}/" if names[-1].isascii() else None
                real /= _INDEX
                status = os.stat(real)
            elif is_folder:
                return None
        except (OSError, ValueError):
            return None
        return File(real, status.st_size, status.st_mtime_ns) if S_ISREG(status.st_mode) else None

    async def _content(self, file: File) -> bytes:
        content = self._cache.get(file)
        if content is None:
            content = await asyncio.to_thread(file.path.read_bytes)
            if len(self._cache) >= _MAX_CACHED_FILES:
                del self._cache[next(iter(self._cache))]
            self._cache[file] = content
        return content

    async def _stream(self, request: Request, file: File) -> None:
        exchange = request.exchange
        exchange.start_stream(200, file.head)
        size = PIECE_BYTES if exchange.is_compressing else _CHUNK_BYTES
        if request.method == "GET":
            with file.path.open("rb") as source:
                while part := await asyncio.to_thread(source.read, size):
                    exchange.write_part(part)
                    await exchange.drain()
                    if exchange.disconnected:
                        return
        exchange.end_stream()


def is_known(request: Request, file: File) -> bool:
    """Tell whether the client has this state of the file (RFC 9110 §13.1.2, §13.1.3)."""
    tags = request.header(b"if-none-match")
    if tags:
        return matches_weakly(tags, file.etag)
    since = request.header(b"if-modified-since")
    return bool(since) and since == formatdate(file.modified_ns // 1_000_000_000, usegmt=True)
