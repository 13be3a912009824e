"""Child: commits transactions and acknowledges each on descriptor 3.

``early`` as second argument acknowledges before the commit: what the checker must see.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lyredb.errors import LyreError
from lyredb.storage.commit import Committer, Request
from lyredb.storage.mutation import Applied
from lyredb.storage.sequencer import Result
from tests.storage.store import ROOMY, Store, put

ACK = 3
GROUPS = 12


class EarlyCommitter(Committer):
    """Acknowledges what it has not yet committed."""

    def commit(self, requests: Sequence[Request]) -> list[Result]:
        for _ in requests:
            os.write(ACK, b"a")
        return super().commit(requests)


def acknowledge(reply: Applied | LyreError) -> None:
    assert isinstance(reply, Applied), reply
    os.write(ACK, b"a")


def main() -> None:
    store = Store(Path(sys.argv[1]), settings=ROOMY)
    early = sys.argv[2:] == ["early"]
    if early:
        store.writer._committer = EarlyCommitter(store.engine, lambda *_: None)
    for group in range(GROUPS):
        os.write(ACK, b"b")
        for number in range(group % 3 + 1):
            replier = (lambda _: None) if early else acknowledge
            store.writer.submit([put(f"{group}-{number}", value=group)], replier)
        store.writer.commit_now()
    store.close()


if __name__ == "__main__":
    main()
