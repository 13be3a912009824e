"""A check judges one snapshot, also while another process writes and makes tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lyredb.operations.check import check_directory
from lyredb.storage.layout import TableLayout
from tests.storage.store import Store, fill, put

CHECK = """
import sys
from pathlib import Path
from lyredb.operations.check import check_directory
for _ in range(20):
    print(*check_directory(Path(sys.argv[1])).problems)
"""


def test_a_check_beside_a_writer_finds_nothing_wrong(tmp_path: Path) -> None:
    """Its clock and its tables are those of the snapshot, not those of the opening."""
    store = Store(tmp_path / "data")
    try:
        fill(store, ["a", "b"], value=1)
        checking = subprocess.Popen(
            [sys.executable, "-c", CHECK, str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            text=True,
        )
        number = 0
        while checking.poll() is None:
            number += 1
            store.commit(put(f"x{number}", value=number))
            if number % 100 == 0 and number <= 1000:
                store.engine.define_table(TableLayout(100 + number, f"data.T{number}"))
        found, _ = checking.communicate()
    finally:
        store.close()
    assert (checking.returncode, found.strip()) == (0, "")


def test_progress_counts_every_part(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    fill(store, ["a"], value=1)
    store.close()
    seen: list[tuple[int, int]] = []
    report = check_directory(tmp_path / "data", lambda done, of: seen.append((done, of)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1] == (3 + report.tables, 3 + report.tables)
