"""Bodies made to cost much more than their bytes: each ends cheap, refused or not."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from lyredb.errors import InvalidBody
from lyredb.formats import CBOR, JSON, MSGPACK, StructuredFormat

SIZE = 4_000_000
"""As large as a body may be."""
MAX_BYTES = 32_000_000
MAX_CPU_S = 0.1
SLOWER = 8
"""The measure of time is for a machine at rest; tests run beside others."""

_COUNT = SIZE.to_bytes(4, "big")

BOMBS: dict[str, tuple[StructuredFormat, Callable[[], bytes]]] = {
    "json-exponent": (JSON, lambda: b"1e999999"),
    "json-small-exponent": (JSON, lambda: b"1e-999999"),
    "json-digits": (JSON, lambda: b"1" * 1_000_000),
    "json-many-long-integers": (JSON, lambda: b"[" + b",".join([b"7" * 4_000] * 930) + b"]"),
    "json-fraction": (JSON, lambda: b"0." + b"1" * SIZE),
    "json-lists": (JSON, lambda: b"[" * SIZE),
    "json-objects": (JSON, lambda: b'{"a":' * (SIZE // 5)),
    "json-names": (JSON, lambda: b"{" + b",".join(b'"%x":0' % n for n in range(400_000)) + b"}"),
    "json-empties": (JSON, lambda: b"[" + b",".join([b"[]"] * 1_300_000) + b"]"),
    "json-allowed-empties": (JSON, lambda: b"[" + b",".join([b"{}"] * 149_000) + b"]"),
    "json-small-objects": (JSON, lambda: b"[" + b",".join([b'{"a":1}'] * 66_000) + b"]"),
    "json-texts": (JSON, lambda: b"[" + b",".join([b'""'] * 1_300_000) + b"]"),
    "json-escapes": (JSON, lambda: b'["' + b"\\n," * 1_300_000),
    "json-quotes": (JSON, lambda: b'"' * SIZE),
    "msgpack-declared-list": (MSGPACK, lambda: b"\xdd\xff\xff\xff\xff"),
    "msgpack-declared-map": (MSGPACK, lambda: b"\xdf\xff\xff\xff\xff"),
    "msgpack-declared-text": (MSGPACK, lambda: b"\xdb\xff\xff\xff\xff"),
    "msgpack-declared-lists": (MSGPACK, lambda: b"\xdd\x3f\xff\xff\xff" * 60),
    "msgpack-lists": (MSGPACK, lambda: b"\x91" * SIZE),
    "msgpack-empties": (MSGPACK, lambda: b"\xdd" + _COUNT + b"\x80" * SIZE),
    "msgpack-nothing": (MSGPACK, lambda: b"\xdd" + _COUNT + b"\xc0" * SIZE),
    "msgpack-extension": (MSGPACK, lambda: b"\xc9" + _COUNT + b"\x01" + b"\xff" * SIZE),
    "cbor-declared-list": (CBOR, lambda: b"\x9b" + b"\xff" * 8),
    "cbor-declared-map": (CBOR, lambda: b"\xbb\x00\x00\x00\x00" + b"\xff" * 4),
    "cbor-declared-text": (CBOR, lambda: b"\x7b\x00\x00\x00\x00" + b"\xff" * 4),
    "cbor-declared-lists": (CBOR, lambda: b"\x9a\x3f\xff\xff\xff" * 60),
    "cbor-lists": (CBOR, lambda: b"\x81" * SIZE),
    "cbor-tags": (CBOR, lambda: b"\xc0" * SIZE),
    "cbor-integer": (CBOR, lambda: b"\xc2\x5a" + _COUNT + b"\xff" * SIZE),
    "cbor-date": (CBOR, lambda: b"\xc0\x7a" + _COUNT + b"2" * SIZE),
    "cbor-pieces": (CBOR, lambda: b"\x7f" + b"\x60" * SIZE + b"\xff"),
    "cbor-empties": (CBOR, lambda: b"\x9a" + _COUNT + b"\x80" * SIZE),
    "cbor-shared": (CBOR, lambda: b"\xd8\x1c\x82" + b"\x00" + b"\xd8\x1d\x00"),
    "cbor-text-references": (CBOR, lambda: b"\xd9\x01\x00\x82\x64aaaa\xd8\x19\x00"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(name: str) -> None:
    chosen, make = BOMBS[name]
    data = make()
    before = time.process_time()
    decode(chosen, data)
    cpu_s = time.process_time() - before
    tracemalloc.start()
    try:
        decode(chosen, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES, f"{peak} bytes"
    assert cpu_s < MAX_CPU_S * SLOWER, f"{cpu_s} s"


@pytest.mark.parametrize("name", ["cbor-shared", "cbor-text-references"])
def test_references_are_refused_however_small(name: str) -> None:
    chosen, make = BOMBS[name]
    with pytest.raises(InvalidBody, match="tags"):
        chosen.decode(make())


def decode(chosen: StructuredFormat, data: bytes) -> None:
    try:
        chosen.decode(data)
    except InvalidBody:
        pass  # refused is cheap enough when it was cheap
