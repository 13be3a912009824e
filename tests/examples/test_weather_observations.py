"""The weather example's data: every row becomes a record, in order, for ever."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import pytest

MODULE = Path(__file__).resolve().parents[2] / "examples/weather/observations.py"


@pytest.fixture(scope="module")
def observations() -> ModuleType:
    """The example's module, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("weather_observations", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_row_is_an_observation_with_a_key_of_its_own(observations: ModuleType) -> None:
    folder = observations.data_folder()
    days = observations.seattle(folder)
    hours = observations.san_francisco(folder)
    assert len({one.key for one in days}) == len(days) == 1461
    assert len({one.key for one in hours}) == len(hours) == 8759


def test_values_are_those_of_the_file_in_metric_units(observations: ModuleType) -> None:
    folder = observations.data_folder()
    second = observations.seattle(folder)[1]
    assert (second.key, second.record["high"], second.record["precipitation"]) == (
        "seattle/2012-01-02",
        10.6,
        10.9,
    )
    first = observations.san_francisco(folder)[0]
    assert first.key == "san-francisco/2010-01-01T00"
    assert first.record["temperature"] == pytest.approx((47.8 - 32) / 1.8, abs=0.05)


def test_latest_of_an_hour_has_the_extremes_of_its_day_so_far(observations: ModuleType) -> None:
    hours = observations.san_francisco(observations.data_folder())[24:48]
    values = [hour.record["temperature"] for hour in hours]
    assert hours[5].latest["low"] == min(values[:6])
    assert hours[-1].latest["high"] == max(values)


def test_series_goes_on_behind_a_time_and_begins_again(observations: ModuleType) -> None:
    """The day goes on where the dates jump back, or the replay would rush."""
    days = observations.seattle(observations.data_folder())
    series = observations.series(days, after="2015-12-30")
    ahead = [(one.day, one.record["time"]) for one in itertools.islice(series, 2)]
    assert ahead == [(0, "2015-12-31"), (1, "2012-01-01")]


def test_series_ends_when_asked_to(observations: ModuleType) -> None:
    days = observations.seattle(observations.data_folder())
    (last,) = observations.series(days, after="2015-12-30", once=True)
    assert last.key == "seattle/2015-12-31"
