"""Child: writes without end and prints each key once it is acknowledged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from msgspec.structs import replace

from lyredb.errors import LyreError
from lyredb.storage.mutation import Applied, Precondition
from tests.faults.killing import SETTINGS
from tests.storage.store import Store, add, check_of, delete, message, put


def main() -> None:
    store = Store(Path(sys.argv[1]), settings=SETTINGS)
    number = int(sys.argv[2])
    while True:
        for _ in range(number % 7 + 1):
            number += 1
            submit(store, number)
        store.run()


def submit(store: Store, number: int) -> None:
    def acknowledge(reply: Applied | LyreError) -> None:
        assert isinstance(reply, Applied), reply
        os.write(1, f"{number}\n".encode())

    store.writer.submit(
        [
            put(f"k{number}", value=number % 10, text="x" * (number % 900)),
            add("sum", value=1),
            delete(f"gone{number - 3}"),
            put(f"gone{number}", value=number),
            message("m"),
            check_of(f"k{number}", Precondition(read_version=0)),
            replace(put("kept", value=number), may_change=("value",)),
        ],
        acknowledge,
    )


if __name__ == "__main__":
    main()
