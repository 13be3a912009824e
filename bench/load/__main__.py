"""The load process: a job as JSON on standard input, its result as JSON on output.

The job comes by standard input because a password in it must not show in ``ps``.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict

from bench.load.driver import Driver
from bench.load.hold import Holder
from bench.load.spec import Bounds, Hold, Shape, Target


def main() -> None:
    """Run one load: messages in a shape, or connections that are held."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    job = json.load(sys.stdin)
    target = Target(**job["target"])
    if "hold" in job:
        json.dump(asdict(Holder(target, Hold(**job["hold"])).run()), sys.stdout)
        return
    driver = Driver(target, Shape(**job["shape"]), Bounds(**job["bounds"]))
    json.dump(asdict(driver.run()), sys.stdout)


if __name__ == "__main__":
    main()
