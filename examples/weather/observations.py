"""The observations of two places, as an endless series of records.

The files are those of the `vega_datasets` package (NOAA's, public domain). The package
itself is not imported: its loader wants pandas, its CSV files want nothing.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True)
class Observation:
    """What one place measured at one time.

    Attributes:
        day: When, in days since the place's series began; goes on when it begins again.
        place: Its id, such as ``seattle``.
        key: The id of this observation's record, such as ``seattle/2012-01-31``.
        record: What was measured then.
        latest: What is known of the place from then on: a day's high so far and so on.
    """

    day: float
    place: str
    key: str
    record: dict[str, object]
    latest: dict[str, object]


class DataMissing(Exception):
    """The files are not installed."""


def data_folder() -> Path:
    """Return the folder of the CSV files.

    Raises:
        DataMissing: `vega_datasets` is not installed.
    """
    spec = importlib.util.find_spec("vega_datasets")
    if spec is None or not spec.submodule_search_locations:
        raise DataMissing(
            "The observations are files of the package vega_datasets. "
            "Install it: pip install --no-deps vega_datasets"
        )
    return Path(spec.submodule_search_locations[0]) / "_data"


def seattle(folder: Path) -> list[Observation]:
    """Return the days of 2012 to 2015 in Seattle."""
    with (folder / "seattle-weather.csv").open(newline="") as file:
        return [_seattle_day(day, row) for day, row in enumerate(csv.DictReader(file))]


def _seattle_day(day: int, row: dict[str, str]) -> Observation:
    date = row["date"].replace("/", "-")
    record: dict[str, object] = {
        "name": "Seattle",
        "time": date,
        "high": float(row["temp_max"]),
        "low": float(row["temp_min"]),
        "wind": float(row["wind"]),
        "precipitation": float(row["precipitation"]),
        "weather": row["weather"],
    }
    return Observation(day, "seattle", f"seattle/{date}", record, record)


def san_francisco(folder: Path) -> list[Observation]:
    """Return the hours of 2010 in San Francisco."""
    observations = []
    today: list[float] = []
    with (folder / "sf-temps.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            time = datetime.strptime(row["date"], "%Y/%m/%d %H:%M:%S")
            if time.hour == 0:
                today = []
            today.append(_celsius(float(row["temp"])))
            observations.append(_san_francisco_hour(time, today))
    return observations


def _celsius(fahrenheit: float) -> float:
    return round((fahrenheit - 32) / 1.8, 1)


def _san_francisco_hour(time: datetime, today: list[float]) -> Observation:
    day = time.timetuple().tm_yday - 1 + time.hour / HOURS_A_DAY
    record: dict[str, object] = {
        "name": "San Francisco",
        "time": time.isoformat(timespec="minutes"),
        "temperature": today[-1],
    }
    latest = record | {"high": max(today), "low": min(today)}
    key = f"san-francisco/{time:%Y-%m-%dT%H}"
    return Observation(day, "san-francisco", key, record, latest)


def series(
    observations: list[Observation], *, after: str = "", start: float = 0, once: bool = False
) -> Iterator[Observation]:
    """Go through the observations of one place, and begin again at the end.

    Args:
        observations: In order of time.
        after: Begin behind the observation whose `time` this is; at the first one when
            there is none.
        start: The day that the first one gets.
        once: End at the end.
    """
    times = [observation.record["time"] for observation in observations]
    begin = (times.index(after) + 1) % len(times) if after in times else 0
    length = int(observations[-1].day) + 1
    shift = start - observations[begin].day
    for round_number in itertools.count():
        for one in itertools.islice(observations, 0 if round_number else begin, None):
            day = one.day + shift + round_number * length
            yield Observation(day, one.place, one.key, one.record, one.latest)
        if once:
            return
