"""YAML on the way out: blocks for people, in the order that a value has.

Not by PyYAML, which takes 40 times as long (a record of 1 MB would hold the event loop for a
second), and writes ``&id001`` where a value stands twice. YAML 1.1 and 1.2 read it alike.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from lyredb.formats.json_text import JSON
from lyredb.formats.pause import PAUSE

_PLAIN: Final = re.compile(r"[A-Za-z_][\w./-]*(?: [\w./-]+)*", re.ASCII)
"""What needs no quotes, unless it is one of `_WORDS`."""
_WORDS: Final = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON lets stand as it is and YAML does not (YAML 1.2 §5.1)."""
_TURN_BYTES: Final = 16_384
"""After about so much of a collection others have a turn; it is made in 0.5 ms."""


class YamlFormat:
    """The format ``yaml``, which is made and never read here."""

    name: Final = "yaml"
    media_type: Final = "text/yaml"
    head: Final = b"content-type: text/yaml; charset=utf-8\r\n"
    """The header lines that describe a body."""
    quality: Final = 0.7
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        return "".join(_document(value)).encode()

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield the elements of a list as they are iterated.

        A `PAUSE` among the values is an empty part, and there are more of these; names
        stand in the values, so ``columns`` are of no use here.
        """
        is_empty = True
        size = 0
        for value in values:
            if value is PAUSE:
                yield b""
                continue
            is_empty = False
            part = "".join(_items((value,), 0)).encode()
            yield part
            size += len(part)
            if size >= _TURN_BYTES:
                size = 0
                yield b""
        if is_empty:
            yield b"[]\n"


def _document(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield from _pairs(value, 0)
    elif isinstance(value, (list, tuple)) and value:
        yield from _items(value, 0)
    else:
        yield _leaf(value) + "\n"


def _pairs(value: Mapping[str, object], indent: int) -> Iterator[str]:
    before = " " * indent
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{before}{_text(name)}:\n"
            yield from _pairs(item, indent + 2)
        elif isinstance(item, (list, tuple)) and item:
            yield f"{before}{_text(name)}:\n"
            yield from _items(item, indent)
        else:
            yield f"{before}{_text(name)}: {_leaf(item)}\n"


def _items(value: Iterable[object], indent: int) -> Iterator[str]:
    before = " " * indent + "-"
    for item in value:
        if isinstance(item, Mapping) and item:
            inner = _pairs(item, indent + 2)
        elif isinstance(item, (list, tuple)) and item:
            inner = _items(item, indent + 2)
        else:
            yield f"{before} {_leaf(item)}\n"
            continue
        # The first line of what is inside stands behind the dash.
        yield f"{before} {next(inner).lstrip(' ')}"
        yield from inner


def _leaf(value: object) -> str:
    match value:
        case str():
            return _text(value)
        case bytes():
            return f'!!binary "{b64encode(value).decode()}"'
        case datetime():
            return value.isoformat()
        case float():
            return _float(value)
    return JSON.encode(value).decode()  # null, booleans, integers, and what is empty


def _float(value: float) -> str:
    assert math.isfinite(value), "no record holds another one"
    text = repr(value)
    # YAML 1.1 takes `1e+20` for a text.
    return text if "." in text else text.replace("e", ".0e")


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = JSON.encode(text).decode()
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


YAML: Final = YamlFormat()
