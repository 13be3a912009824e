"""What ``$SYS`` says, from the numbers of all processes: names and rates of mosquitto.

Where a name means something that is not counted here it is not told, rather than a guess.
Deviations: ``messages/…`` count PUBLISH packets only, as ``publish/messages/…`` do, and a
worker that had to be replaced takes what it has counted with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lyredb.plugins.scope import ProcessNumbers

_ROOT: Final = "$SYS/broker"
_SPANS_S: Final = {"1min": 60.0, "5min": 300.0, "15min": 900.0}


@dataclass(frozen=True, slots=True)
class Held:
    """What the database holds of clients.

    Attributes:
        retained: Retained messages of open topics.
        sessions: Sessions that outlive their connections, those of now included.
    """

    retained: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers of a server at one moment, over all its processes."""

    connected: int
    durable: int
    subscriptions: int
    connects: int
    received: int
    sent: int
    dropped: int
    received_bytes: int
    sent_bytes: int
    published_bytes: int
    resident_bytes: int
    started_s: float
    held: Held


def totals_of(processes: Sequence[ProcessNumbers], held: Held) -> Totals:
    """Add up what the processes told."""

    def total(room: str, *fields: str) -> int:
        return int(
            sum(one.numbers.get(room, {}).get(name, 0) for one in processes for name in fields)
        )

    started = [one.numbers["process"]["started_s"] for one in processes if "process" in one.numbers]
    return Totals(
        connected=total("mqtt", "clients"),
        durable=total("mqtt", "durable"),
        subscriptions=total("mqtt", "subscriptions"),
        connects=total("mqtt", "accepted", "refused_connects"),
        received=total("mqtt", "received"),
        sent=total("mqtt", "sent"),
        dropped=total("mqtt", "dropped"),
        received_bytes=total("mqtt", "received_bytes"),
        sent_bytes=total("mqtt", "sent_bytes"),
        published_bytes=total("mqtt", "published_bytes"),
        resident_bytes=total("process", "resident_bytes"),
        started_s=min(started, default=0.0),
        held=held,
    )


class Rates:
    """Averages per minute over the last 1, 5 and 15 minutes, each fading as mosquitto's."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._averages: dict[tuple[str, str], float] = {}

    def take(self, counted: Mapping[str, int], passed_s: float) -> None:
        """Take what has been counted so far.

        Args:
            counted: By name of the rate.
            passed_s: Seconds since the last call; above 0.
        """
        for name, number in counted.items():
            # What a lost worker had counted is gone: that is no rate below nothing.
            new = max(0, number - self._last.get(name, number))
            self._last[name] = number
            per_minute = new * 60 / passed_s
            for span, span_s in _SPANS_S.items():
                before = self._averages.get((name, span), 0.0)
                fading = math.exp(-passed_s / span_s)
                self._averages[name, span] = per_minute + fading * (before - per_minute)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """Names as ``messages/received/1min``, with the average."""
        for (name, span), average in self._averages.items():
            yield f"{name}/{span}", average


class SysValues:
    """The topics of ``$SYS`` and what they say, sample by sample.

    Args:
        version: Of the server.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._rates = Rates()
        self._most = 0

    def take(self, totals: Totals, now_s: float, passed_s: float) -> dict[str, str]:
        """Return all values by topic.

        Args:
            totals: Of this moment.
            now_s: Seconds since 1970.
            passed_s: Seconds since the last sample; above 0.
        """
        self._most = max(self._most, totals.connected)
        self._rates.take(_rated(totals), passed_s)
        values = {"version": f"lyredb {self._version}"}
        values["uptime"] = f"{max(0, int(now_s - totals.started_s))} seconds"
        values |= {name: str(number) for name, number in _counted(totals, self._most).items()}
        values |= {f"load/{name}": f"{average:.2f}" for name, average in self._rates}
        return {f"{_ROOT}/{name}": value for name, value in values.items()}


def _rated(totals: Totals) -> dict[str, int]:
    return {
        "connections": totals.connects,
        "messages/received": totals.received,
        "messages/sent": totals.sent,
        "publish/received": totals.received,
        "publish/sent": totals.sent,
        "publish/dropped": totals.dropped,
        "bytes/received": totals.received_bytes,
        "bytes/sent": totals.sent_bytes,
    }


def _counted(totals: Totals, most: int) -> dict[str, int]:
    away = max(0, totals.held.sessions - totals.durable)
    return {
        "clients/total": totals.connected + away,
        "clients/connected": totals.connected,
        "clients/active": totals.connected,
        "clients/disconnected": away,
        "clients/inactive": away,
        "clients/maximum": most,
        "messages/received": totals.received,
        "messages/sent": totals.sent,
        "publish/messages/received": totals.received,
        "publish/messages/sent": totals.sent,
        "publish/messages/dropped": totals.dropped,
        "publish/bytes/sent": totals.published_bytes,
        "bytes/received": totals.received_bytes,
        "bytes/sent": totals.sent_bytes,
        "subscriptions/count": totals.subscriptions,
        "retained messages/count": totals.held.retained,
        "heap/current": totals.resident_bytes,
    }
