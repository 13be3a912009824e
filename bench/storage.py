"""Rates of the storage alone, on the disk of the temporary directory.

``python bench/storage.py [DIRECTORY]`` prints a table in about ten seconds. Writes are
records of about 100 bytes with one index whose value changes; every group is one fsync.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_index_value, encode_key
from lyredb.storage.layout import IndexLayout, TableLayout
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import pack_body
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer

SLOT = 16
KEYS = 100_000
TABLE = TableLayout(SLOT, "data.Bench", indexes=(IndexLayout(16, ("value",)),))
SECONDS = 1.0


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1] if sys.argv[1:] else None))
    try:
        engine = Engine.open(folder, settings=StorageSettings())
        engine.define_table(TABLE)
        writer = Writer(engine, call_soon=lambda _: None)
        fill(writer)
        print(f"{'what':34} {'per second':>12} {'wall µs each':>12} {'CPU µs each':>12}")
        for size in (1, 10, 50, 100, 1000):
            report(f"put, groups of {size}", partial(write, writer, size, KEYS))
        report("put, groups of 1000, 1000 hot keys", lambda: write(writer, 1000, 1000))
        report("get", lambda: get(engine))
        report("get, a snapshot each", lambda: get_alone(engine))
        report("20 records by index", lambda: find(engine), count=1)
        report("scan", lambda: scan(engine))
        report("log tail, decoded", lambda: tail(engine))
        engine.close()
    finally:
        shutil.rmtree(folder)


def report(name: str, work: Callable[[], int], *, count: int = 0) -> None:
    """Repeat the work for a second and print its rate; it returns how much it did."""
    done, begun, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < SECONDS:
        found = work()
        done += count or found
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(f"{name:34} {done / wall:12,.0f} {wall / done * 1e6:12.2f} {cpu / done * 1e6:12.2f}")


def mutation(number: int) -> Mutation:
    body = pack_body(
        {"value": random.randrange(5000), "site": "roof", "unit": "C", "text": "x" * 50}
    )
    return Mutation(SLOT, encode_key(f"sensor-{number:06d}"), Kind.PUT, body)


def fill(writer: Writer) -> None:
    numbers = list(range(KEYS))
    random.shuffle(numbers)
    for begin in range(0, KEYS, 2000):
        for number in numbers[begin : begin + 2000]:
            writer.submit([mutation(number)], lambda _: None)
        writer.commit_now()


def write(writer: Writer, size: int, keys: int) -> int:
    for _ in range(size):
        writer.submit([mutation(random.randrange(keys))], lambda _: None)
    writer.commit_now()
    return size


def some_keys() -> list[bytes]:
    return [encode_key(f"sensor-{random.randrange(KEYS):06d}") for _ in range(1000)]


SOME_KEYS = some_keys()


def get(engine: Engine) -> int:
    with engine.snapshot() as snapshot:
        for key in SOME_KEYS:
            assert snapshot.get(SLOT, key) is not None
    return len(SOME_KEYS)


def get_alone(engine: Engine) -> int:
    for key in SOME_KEYS:
        with engine.snapshot() as snapshot:
            assert snapshot.get(SLOT, key) is not None
    return len(SOME_KEYS)


def find(engine: Engine) -> int:
    with engine.snapshot() as snapshot:
        keys = snapshot.index_keys(16, encode_index_value(random.randrange(5000)))
        return len([snapshot.get(SLOT, key) for key in keys])


def scan(engine: Engine) -> int:
    with engine.snapshot() as snapshot:
        return sum(1 for _ in snapshot.scan(SLOT))


def tail(engine: Engine) -> int:
    done, position = 0, engine.position - 50_000
    while position < engine.position:
        with engine.snapshot() as snapshot:
            entries = snapshot.entries(position)
        position = entries[-1].seq
        done += len(entries)
    return done


if __name__ == "__main__":
    main()
