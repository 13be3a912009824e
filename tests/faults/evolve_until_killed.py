"""Child: changes tables, builds indexes and lets records expire without end.

Prints the number of the schema after each change that is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from lyredb.server import store as stores
from lyredb.server.store import Store
from lyredb.storage import expiry
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import pack_body
from lyredb.tables.sdl import parse_sdl
from tests.faults.killing import SCHEMAS, SETTINGS

RECORDS = 6000
AT_ONCE = 300


async def main() -> None:
    expiry.DEFAULT_SCAN_MS = 20  # type: ignore[misc]  # so that kills hit removals
    stores.EXPIRY_S = 0.005  # type: ignore[misc]
    chance = random.Random(int(sys.argv[2]))
    number = chance.randrange(len(SCHEMAS))
    store = Store.open(
        Path(sys.argv[1]), parse_sdl(SCHEMAS[number]), storage=SETTINGS, retire_s=0.02
    )
    while True:
        slot = store.catalogue.tables["data.Plant"].slot
        for _ in range(chance.randrange(1, 8)):
            await store.writer.commit([a_write(chance, slot) for _ in range(AT_ONCE)])
        number = chance.randrange(len(SCHEMAS))
        await store.evolve(parse_sdl(SCHEMAS[number]))
        os.write(1, f"{number}\n".encode())
        await asyncio.sleep(chance.choice((0.0, 0.0, 0.05)))


def a_write(chance: random.Random, slot: int) -> Mutation:
    key = encode_key(f"k{chance.randrange(RECORDS)}")
    if chance.random() < 0.1:
        return Mutation(slot, key, Kind.DELETE)
    record = {
        "site": f"s{chance.randrange(9)}",
        "n": chance.randrange(99),
        "until": time.time() * 1000 + chance.choice((-1, 5, 300, 10**9)),
    }
    return Mutation(slot, key, Kind.PUT, pack_body(record))


if __name__ == "__main__":
    asyncio.run(main())
