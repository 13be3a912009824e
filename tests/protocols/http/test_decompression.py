"""Compressed bodies: whole in every split, refused when they are wrong, large or bombs."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from lyredb.errors import BodyTooLarge, InvalidBody, UnsupportedCoding
from lyredb.protocols.http.compression import compress, compressor
from lyredb.protocols.http.decompression import Decompressor, coding_of

TEXT = b'{"name": "value", "n": [1, 2, 3]}' * 40
LIMIT = 4_000_000


def raw_deflate(data: bytes) -> bytes:
    one = zlib.compressobj(9, zlib.DEFLATED, -15)
    return one.compress(data) + one.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two gzip members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "two zstd frames": (
        "zstd",
        lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:]),
    ),
}


def decompressor(coding: str) -> Decompressor:
    return Decompressor(coding, max_bytes=LIMIT, max_ratio=200)


def decompress(coding: str, data: bytes) -> bytes:
    """All of a body, in parts as they come from a socket."""
    one = decompressor(coding)
    parts = [one.feed(data[at : at + 65_536]) for at in range(0, len(data), 65_536)]
    one.finish()
    return b"".join(parts)


@pytest.mark.parametrize("name", PACKERS)
def test_a_body_is_the_same_in_every_split(name: str) -> None:
    """However the network cuts it; also byte by byte."""
    coding, pack = PACKERS[name]
    packed = pack(TEXT)
    for at in range(len(packed) + 1):
        one = decompressor(coding)
        assert one.feed(packed[:at]) + one.feed(packed[at:]) == TEXT
        one.finish()
    one = decompressor(coding)
    assert b"".join(one.feed(packed[at : at + 1]) for at in range(len(packed))) == TEXT
    one.finish()


@pytest.mark.parametrize("name", PACKERS)
def test_a_body_that_ends_early_is_refused(name: str) -> None:
    """It would be stored as if it were whole."""
    coding, pack = PACKERS[name]
    one = decompressor(coding)
    one.feed(pack(TEXT)[:-1])
    with pytest.raises(InvalidBody, match="ends in the middle"):
        one.finish()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_in_its_coding_is_refused(coding: str) -> None:
    """Bytes of another kind, and bytes behind the end."""
    with pytest.raises(InvalidBody):
        decompress(coding, b'{"a": 1}' * 100)
    name = coding if coding in PACKERS else "br"
    with pytest.raises(InvalidBody):
        decompressor(coding).feed(PACKERS[name][1](TEXT) + b"more of it")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("size", [LIMIT + 1, 100_000_000])
def test_a_bomb_costs_no_more_memory_than_a_body(coding: str, size: int) -> None:
    """It is refused while it is taken apart, whatever its end would be."""
    packed = PACKERS[coding][1](bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decompress(coding, packed)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()


def test_a_body_may_not_grow_without_bound() -> None:
    """Also below the limit of its size; small ones may."""
    assert decompressor("br").feed(brotli.compress(bytes(200_000))) == bytes(200_000)
    with pytest.raises(BodyTooLarge, match="200 times"):
        decompressor("br").feed(brotli.compress(bytes(1_000_000)))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_body_has_few_members(pack: Callable[[bytes], bytes]) -> None:
    """Each costs as much as many bytes."""
    coding = "gzip" if pack is gzip.compress else "zstd"
    with pytest.raises(InvalidBody):
        decompressor(coding).feed(pack(b"") * 17)


def test_a_window_that_nobody_has_to_have_is_refused() -> None:
    """RFC 9659: the sender would choose how much memory we take."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    one = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = one.compress(b"x" * 100) + one.flush()
    with pytest.raises(InvalidBody, match="not valid zstd"):
        decompressor("zstd").feed(packed)


@pytest.mark.parametrize(
    ("header", "coding"),
    [(b"", ""), (b"identity", ""), (b" GZip ", "gzip"), (b"x-gzip, identity", "gzip")],
)
def test_a_coding_is_read_from_its_header(header: bytes, coding: str) -> None:
    """RFC 9110 §8.4."""
    assert coding_of(header) == coding


@pytest.mark.parametrize("header", [b"compress", b"gzip, br", b"aws-chunked", b"\xff" * 9_000])
def test_other_codings_are_refused(header: bytes) -> None:
    """As are several at once: each could be a bomb in the next."""
    with pytest.raises(UnsupportedCoding):
        coding_of(header)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
def test_what_is_compressed_can_be_read_part_by_part(coding: str) -> None:
    """The reader of a stream has each part when it has its bytes."""
    one, reader = compressor(coding), decompressor(coding)
    for number in range(3):
        part = b"%d" % number * 50
        assert reader.feed(one.part(part)) == part
    assert reader.feed(one.finish()) == b""
    reader.finish()
    whole = decompressor(coding)
    assert whole.feed(compress(coding, TEXT)) == TEXT
    whole.finish()
