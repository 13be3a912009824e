"""Changes to streams of bytes, the same ones for the same seed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
_INTERESTING: Final = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\x7f",
    b"\r\n",
    b"\xc0\xaf",
)


def seeds(kind: str) -> list[bytes]:
    """The kept streams of a kind."""
    found = [path.read_bytes() for path in sorted((CORPUS / kind).glob("*.bin"))]
    assert found, kind
    return found


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Change a few bytes, cut out, repeat, exchange parts with other streams."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(7):
            case 0 if at < len(out):
                out[at] = rng.randrange(256)
            case 1 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                del out[at : at + rng.randint(1, 9)]
            case 3:
                out[at:at] = out[at : at + rng.randint(1, 60)]
            case 4:
                out[at:at] = rng.choice(_INTERESTING)
            case 5:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                out[at : at + rng.randint(0, 20)] = other[start : start + rng.randint(1, 60)]
            case _:
                del out[at:]
    return bytes(out)


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """Cut a stream as a network might."""
    if rng.random() < 0.5 or len(data) < 2:
        return [data]
    at = rng.randrange(1, len(data))
    return [data[:at], data[at:]]
