"""Changes to packets in a row: their bytes, their lengths, their order, and where reads end."""

from __future__ import annotations

import random

from tests.fuzz.mutations import mutate
from tests.protocols.mqtt.client_frames import remaining_length

Packets = list[bytes]


def mutate_packets(rng: random.Random, packets: Packets, others: list[Packets]) -> Packets:
    """Change a conversation behind its CONNECT in a few places."""
    first, rest = packets[0], list(packets[1:])
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        rest = [one for one in rest if one]
        if not rest:
            break
        at = rng.randrange(len(rest))
        match rng.randrange(8):
            case 0:
                del rest[at]
            case 1:
                rest.insert(rng.randrange(len(rest)), rest[at])
            case 2:
                to = rng.randrange(len(rest))
                rest[at], rest[to] = rest[to], rest[at]
            case 3:
                rest.insert(at, rng.choice(rng.choice(others)))
            case 4:
                rest[at] = mutate(rng, rest[at], rest)
            case 5:
                rest[at:at] = [rest[at]] * rng.randint(1, 40)
            case 6:
                rest[at] = rest[at][: rng.randrange(len(rest[at]))]
            case _:
                rest[at] = _with_other_body(rng, rest[at], rest)
    return [first, *rest]


def _with_other_body(rng: random.Random, packet: bytes, others: Packets) -> bytes:
    """Whole packets with another body, whose length is right: they are read to their end."""
    first, body = _split(packet)
    if rng.random() < 0.2:
        first = first & 0xF0 | rng.randrange(16)
    body = mutate(rng, body, others)
    return bytes([first]) + remaining_length(len(body)) + body


def mutate_connect(rng: random.Random, packets: Packets, login: bytes) -> Packets:
    """Change what a CONNECT says before the login, which costs time when it is wrong."""
    first, body = _split(packets[0])
    head = mutate(rng, body.removesuffix(login), [body])
    size = len(head) + len(login)
    return [bytes([first]) + remaining_length(size) + head + login, *packets[1:]]


def reads(rng: random.Random, packets: Packets) -> list[bytes]:
    """Cut a stream into a few reads, anywhere."""
    data = b"".join(packets)
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 3, 9))))
    found = []
    for cut in reversed(cuts):
        found.append(data[cut:])
        data = data[:cut]
    return [one for one in (data, *reversed(found)) if one]


def _split(packet: bytes) -> tuple[int, bytes]:
    """The first byte and the body of a packet; of what is none, what may pass for them."""
    at = 1
    while at < len(packet) and packet[at] >= 128:
        at += 1
    return (packet[0] if packet else 0x30), packet[at + 1 :] or b"\x00"
