"""What a wake costs, by filter and by what waits, over a long log."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from bench.load.client import LoadFailed, MqttLogin
from bench.peers.lyredb import lyredb_at
from bench.peers.process import StartFailed
from bench.result import Figure
from bench.sessions.filling import fill_night
from bench.sessions.night import GROUP, Case, Night, night_of
from bench.sessions.waking import AT_ONCE, LEVEL, Woken, wake
from bench.worst.cost import REMEMBER

CPU_MS: Final = 2.0
FEW: Final = 20
"""With more messages a wake is what it costs to send them."""
MOST_S: Final = 120.0
"""For the sessions of one case; those that have not come back by then do not count."""
WORDS: Final = {
    "topic": "each a topic of its own",
    "prefix": f"all the same prefix of {GROUP:,} records, `Bench/<group>/#`",
    "inner": "all the same `Bench/+/<name>`, which {records:,} records could match",
}


def wakes(folder: Path, entries: int, count: int, records: int) -> list[Figure]:
    """Fill a log, have the sessions of each case come back, and return what that costs."""
    night = night_of(entries, count, records)
    home = folder / "night"
    try:
        fill_night(home, night)
        with lyredb_at(home, extra=REMEMBER) as running:
            # The first login is checked with argon2, whoever comes.
            MqttLogin(LEVEL).open(running.mqtt, "first").close()
            return [_figure(night, case, wake(running.mqtt, case, MOST_S)) for case in night.cases]
    except (StartFailed, LoadFailed) as error:
        return [Figure("wakes", "", "", None, {}, trouble=str(error))]
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _figure(night: Night, case: Case, woken: Woken) -> Figure:
    has_goal = case.waiting <= FEW and case.kind != "inner"
    filters = WORDS[case.kind].format(records=night.records + GROUP)
    return Figure(
        name=f"wake, {case.kind}, {case.waiting:,} waiting",
        unit="ms of CPU",
        conditions=(
            f"{woken.sessions:,} durable sessions, {filters}; asleep for {night.entries:,}"
            f" entries of the log, nearly all in other records of the table; from CONNECT"
            f" to the close, {AT_ONCE} at once, everything received and acknowledged; all"
            f" processes"
        ),
        subject=woken.cpu_ms or None,
        peers={},
        wanted=f"at most {CPU_MS:g} ms" if has_goal else "",
        is_met=woken.cpu_ms <= CPU_MS if has_goal and woken.sessions else None,
        trouble=woken.trouble,
    )
