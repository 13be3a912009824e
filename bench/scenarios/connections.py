"""Connections that do nothing: what each costs, and whether very many of them hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from bench.load.spec import Hold, HoldResult, Target
from bench.load.start import run_hold
from bench.peers.certificate import make_certificate
from bench.peers.lyredb import lyredb
from bench.peers.mosquitto import mosquitto
from bench.peers.process import StartFailed
from bench.result import Figure
from bench.scenarios.plan import Plan

QUICK_CONNECTIONS = 400
PEER = "mosquitto"


@dataclass(frozen=True, slots=True)
class ConnectionScenario:
    """So many connections.

    Attributes:
        at_most_bytes: Of LyreDB's memory for each, or None when only their number counts.
        peer: mosquitto is measured too.
    """

    name: str
    hold: Hold
    tls: bool = False
    at_most_bytes: float | None = None
    peer: bool = True

    def run(self, plan: Plan) -> list[Figure]:
        """Measure one server after the other."""
        hold = self.hold
        if plan.order == "AB":  # a quick run
            fewer = min(QUICK_CONNECTIONS, hold.connections)
            hold = replace(hold, connections=fewer, hold_s=min(hold.hold_s, plan.round_s))
        found = {"LyreDB": _measure(self._lyredb(plan), hold)}
        if self.peer:
            certificate = make_certificate(plan.folder) if self.tls else None
            found[PEER] = _measure(mosquitto(plan.folder, certificate=certificate), hold)
        return [self._figure(hold, found)]

    @contextmanager
    def _lyredb(self, plan: Plan) -> Iterator[Target]:
        certificate = make_certificate(plan.folder) if self.tls else None
        with lyredb(plan.folder, certificate=certificate) as running:
            yield running.mqtt_tls or running.mqtt

    def _figure(self, hold: Hold, found: dict[str, HoldResult]) -> Figure:
        counts = self.at_most_bytes is None
        values = {
            name: float(result.alive) if counts else result.bytes_each / 1000
            for name, result in found.items()
        }
        mine = values.pop("LyreDB")
        limit = float(hold.connections) if counts else (self.at_most_bytes or 0) / 1000
        return Figure(
            name=self.name,
            unit="connections alive" if counts else "kB",
            conditions=_conditions(hold, found, tls=self.tls),
            subject=None if found["LyreDB"].failure else mine,
            peers=values,
            wanted=f"{limit:,.0f}" if counts else f"at most {limit:g} kB",
            is_met=not found["LyreDB"].failure and (mine >= limit if counts else mine <= limit),
            trouble="; ".join(
                _trouble(name, result, hold)
                for name, result in found.items()
                if _trouble(name, result, hold)
            ),
        )


def _measure(server: AbstractContextManager[Target], hold: Hold) -> HoldResult:
    try:
        with server as target:
            return run_hold(target, hold)
    except StartFailed as error:
        return HoldResult(failure=str(error))


def _trouble(name: str, result: HoldResult, hold: Hold) -> str:
    if result.failure:
        return f"{name}: {result.failure}"
    if result.alive < hold.connections:
        return f"{name}: {hold.connections - result.alive:,} connections did not live"
    return ""


def _conditions(hold: Hold, found: dict[str, HoldResult], *, tls: bool) -> str:
    opening = ", ".join(f"{name} {each.opening_s:.1f} s" for name, each in found.items())
    proof = "; at the end each gets a message" if hold.prove else ""
    return (
        f"{hold.connections:,} MQTT connections over {'TLS' if tls else 'TCP'} from one address,"
        f" silent for {hold.hold_s:g} s{proof}; opening them one by one took {opening};"
        " memory is the proportional set size of all processes, without the kernel's buffers"
    )


SCENARIOS = (
    ConnectionScenario(
        "memory of an idle MQTT connection",
        Hold(connections=5_000, prove=False, hold_s=5.0),
        at_most_bytes=5_000,
    ),
    ConnectionScenario(
        "memory of an idle MQTT connection over TLS",
        Hold(connections=2_000, prove=False, hold_s=5.0),
        tls=True,
        at_most_bytes=32_000,
    ),
    ConnectionScenario(
        "10,000 connections hold",
        Hold(connections=10_000, prove=True, hold_s=10.0),
        peer=False,
    ),
)
