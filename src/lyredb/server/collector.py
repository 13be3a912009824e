"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc
from typing import Final

NEW_OBJECTS: Final = 5000
"""How many the garbage collector lets come before it looks at them. With Python's 700 it
looks at each write that waits for its commit, and finds it alive."""


def spare_collector() -> None:
    """Have the garbage collector look at what requests make, seldom, and at nothing else.

    What the start has made stays until the end anyway. Durable writes over REST gain about
    7 % by it (15,300 instead of 14,300 a CPU second, three rounds each on a busy machine).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
