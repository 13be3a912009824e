"""What counts as growth without bound, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.soak.watching import MIB, Sample, growth_problems

MINUTE_S = 60.0


def samples(
    *,
    memory: Callable[[float], float] = lambda share: 100,
    descriptors: Callable[[float], float] = lambda share: 40,
    log: Callable[[float], float] = lambda share: 50,
    minutes: float = 10,
) -> list[Sample]:
    """A look each 5 s; each figure is a function of the share of the run, in MiB or pieces."""
    count = int(minutes * MINUTE_S / 5)
    return [
        Sample(
            at_s=at * 5.0,
            memory={"writer": int(memory(at / count) * MIB)},
            descriptors={"writer": int(descriptors(at / count))},
            log_bytes=int(log(at / count) * MIB),
            log_floor=at,
            data_bytes=0,
        )
        for at in range(1, count + 1)
    ]


def test_what_fills_at_first_and_then_stays_is_no_growth() -> None:
    filled = samples(memory=lambda share: min(300.0, 2000 * share))
    assert growth_problems(filled) == []


def test_a_burst_is_no_growth() -> None:
    burst = samples(
        memory=lambda share: 400 if 0.8 < share < 0.85 else 100,
        descriptors=lambda share: 90 if 0.8 < share < 0.85 else 40,
    )
    assert growth_problems(burst) == []


@pytest.mark.parametrize(
    ("grown", "what"),
    [
        (samples(memory=lambda share: 100 + 200 * share), "memory of writer"),
        (samples(descriptors=lambda share: 40 + 60 * share), "descriptors of writer"),
        (samples(log=lambda share: 50 + 400 * share), "the log"),
    ],
)
def test_what_grows_all_the_time_is_told(grown: list[Sample], what: str) -> None:
    problems = growth_problems(grown)
    assert len(problems) == 1
    assert problems[0].startswith(what)


def test_a_short_run_says_nothing_about_growth() -> None:
    short = samples(memory=lambda share: 1000 * share, minutes=1)
    assert growth_problems(short) == []
    assert growth_problems([]) == []
