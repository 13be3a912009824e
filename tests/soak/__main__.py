"""``python -m tests.soak``: hours of mixed traffic, held against what is promised."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.run import Plan, soak


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Mixed traffic of MQTT clients over TCP, TLS, WS and WSS at QoS 0 to 2, "
        "sleeping sessions, a shared group, records by REST and streams of events; ends with "
        "1 when something was lost, came twice at QoS 2, or grew without bound.",
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="of traffic; 10 by default")
    add("--clients", type=int, default=24, help="of MQTT; 24 by default")
    add("--rate", type=float, default=20.0, help="messages of each speaker a second")
    add("--workers", type=int, default=2, help="of the server")
    add("--kills", action=argparse.BooleanOptionalAction, default=False, help="kill -9, too")
    add("--kill-every", metavar="SECONDS", type=float, default=15.0, help="between two kills")
    add("--every", metavar="SECONDS", type=float, default=5.0, help="between two lines")
    add("--data", metavar="DIR", type=Path, help="where data goes, and stays if a promise breaks")
    return parser.parse_args()


def main() -> int:
    """Run what was chosen."""
    chosen = options()
    plan = Plan(
        seconds=chosen.minutes * 60,
        clients=chosen.clients,
        rate=chosen.rate,
        workers=chosen.workers,
        kill_every_s=chosen.kill_every if chosen.kills else 0.0,
        report_every_s=chosen.every,
    )
    folder = Path(tempfile.mkdtemp(prefix="lyredb-soak-", dir=chosen.data))
    is_kept = False
    try:
        status = soak(plan, folder)
        is_kept = bool(status and chosen.data)
    finally:
        if not is_kept:
            shutil.rmtree(folder)
    if is_kept:
        print(f"data and log of the server stay in {folder}")
    return status


if __name__ == "__main__":
    sys.exit(main())
