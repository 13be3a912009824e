"""Child: lets the n-th system call on the data file fail, for n = 1.. until none fails.

Prints one line per n; a line that begins with ``WRONG`` names a broken promise.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import shutil
import sys
from pathlib import Path

from lyredb.errors import DiskFull, LyreError, StorageError, StorageFailed
from lyredb.storage.check import check
from lyredb.storage.mutation import Applied
from tests.storage.store import SLOT, SMALL, Store, add, body_of, delete, message, put

TRANSACTIONS = 8
_shim = ctypes.CDLL(None)
Transaction = tuple[int, list[Applied | LyreError]]


def run(folder: Path, nth: int, error: int) -> tuple[int, list[str]]:
    """Write with the n-th call failing; return the calls made, and what went wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    acknowledged: list[int] = []
    problems: list[str] = []
    errors: set[str] = set()
    _shim.shim_arm(nth, error)
    try:
        store = Store(folder, settings=SMALL)
        try:
            errors |= write(store, acknowledged, problems)
        finally:
            calls = _shim.shim_calls()
            _shim.shim_arm(0, 0)
            errors |= {"StorageFailed"} if store.engine.failure else set()
            problems += try_again(store)
            store.close()
    except StorageError as failure:
        errors.add(type(failure).__name__)
        calls = _shim.shim_calls()
    _shim.shim_arm(0, 0)
    problems += verify(folder, acknowledged)
    waits = error == errno.ENOSPC and len(acknowledged) == TRANSACTIONS  # maintenance only
    if nth <= calls and not errors and not waits:
        problems.append(f"call {nth} of {calls} failed unnoticed")
    print(nth, calls, sorted(errors), len(acknowledged))
    return calls, problems


def write(store: Store, acknowledged: list[int], problems: list[str]) -> set[str]:
    """Write groups; note what is acknowledged, and which errors there were."""
    errors: set[str] = set()
    for number in range(TRANSACTIONS):
        transaction = [put(f"k{number}", value=number), add("sum", total=1), message("m")]
        if number == 5:
            transaction.append(delete("k0"))
        try:
            replies = store.submit(*transaction)
        except StorageFailed as failure:
            errors.add(type(failure).__name__)
            continue
        store.run()
        (reply,) = replies
        if isinstance(reply, Applied):
            acknowledged.append(number)
        elif isinstance(reply, (DiskFull, StorageFailed)):
            errors.add(type(reply).__name__)
        else:
            problems.append(f"transaction {number}: {reply!r} is no error of the storage")
        if store.engine.failure and store.engine.generation != 1:
            problems.append("the environment was not reopened once")
        with store.engine.snapshot() as snapshot:
            if len(snapshot.entries(0)) != snapshot.position:
                problems.append("the log cannot be read after a failure")
    return errors


def try_again(store: Store) -> list[str]:
    """Write once more on the same engine: possible unless it has failed for good."""
    try:
        store.commit(put("again", value=1))
    except StorageFailed:
        return [] if store.engine.failure else ["refused though the engine has not failed"]
    return check(store.engine)


def verify(folder: Path, acknowledged: list[int]) -> list[str]:
    """Open again: what was acknowledged is there, and everything agrees."""
    store = Store(folder, settings=SMALL)
    problems = check(store.engine)
    with store.engine.snapshot() as snapshot:
        found = dict(snapshot.scan(SLOT))
        keys = {key[1:].decode() for key in found}
        sums = [body_of(stored).get("total") for key, stored in found.items() if key == b"0sum"]
    problems += [
        f"acknowledged write {number} is lost"
        for number in acknowledged
        if f"k{number}" not in keys and not (number == 0 and 5 in acknowledged)
    ]
    total = sums[0] if sums else 0
    if not isinstance(total, int) or not len(acknowledged) <= total <= len(acknowledged) + 1:
        problems.append(f"{len(acknowledged)} additions acknowledged, the sum is {total}")
    store.commit(put("after", value=1))
    problems += check(store.engine)
    store.close()
    return problems


def main() -> None:
    logging.disable()
    folder, error = Path(sys.argv[1]), int(sys.argv[2])
    nth = 1
    while True:
        calls, problems = run(folder, nth, error)
        for problem in problems:
            print(f"WRONG at {nth}: {problem}")
        if calls < nth:
            break
        nth += 1
    print("DONE", nth)


if __name__ == "__main__":
    main()
