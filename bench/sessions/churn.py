"""Clients that subscribe and unsubscribe all the while: what is left of full traffic."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.load.client import READ_BYTES, Connection, LoadFailed, MqttLogin
from bench.load.packets import packet, properties, subscribe, text
from bench.load.spec import Bounds, LoadResult, Shape, Target
from bench.load.start import run_load
from bench.peers.lyredb import lyredb
from bench.peers.process import StartFailed
from bench.result import Figure
from bench.scenarios.plan import Plan

A_SECOND: Final = 1_000
"""Subscriptions that begin, and as many that end."""
CLIENTS: Final = 10
AT_MOST: Final = 0.20
ROUNDS: Final = "ABABA"
TRAFFIC: Final = Shape(topics=1_000, topic_filter="Bench/#", burst=1_000)
LEVEL: Final = 4
_TURN_S: Final = CLIENTS / A_SECOND
_ANSWERS_BYTES: Final = 5 + 4
"""A SUBACK of one filter and an UNSUBACK, as 3.1.1 has them."""
_WILDCARD_EACH: Final = 10


class Churn:
    """Subscribes and unsubscribes in a thread, at a steady rate; a context manager inside.

    Attributes:
        answered: Pairs of SUBSCRIBE and UNSUBSCRIBE that were acknowledged.
        trouble: Why it ended early, or empty.
    """

    def __init__(self, target: Target) -> None:
        login = MqttLogin(LEVEL)
        self._clients = [login.open(target, f"churn-{number}") for number in range(CLIENTS)]
        for each in self._clients:
            each.socket.settimeout(10.0)
        self.answered = 0
        self.trouble = ""
        self._number = 0
        self._is_over = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Do it until the end of the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
            for each in self._clients:
                each.close()

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._is_over.wait(max(0.0, due - time.monotonic())):
                due += _TURN_S
                for client in self._clients:
                    self._send(client)
                for client in self._clients:
                    self._receive(client)
                self.answered += len(self._clients)
        except (LoadFailed, OSError) as error:
            self.trouble = str(error) or type(error).__name__

    def _send(self, client: Connection) -> None:
        self._number += 1
        end = "/#" if not self._number % _WILDCARD_EACH else ""
        filter = f"Bench/own-{self._number}{end}"
        away = packet(0xA2, b"\x00\x02" + properties(LEVEL) + text(filter))
        client.socket.sendall(subscribe(filter, qos=0, level=LEVEL) + away)

    def _receive(self, client: Connection) -> None:
        missing = _ANSWERS_BYTES
        while missing:
            data = client.socket.recv(min(missing, READ_BYTES))
            if not data:
                raise LoadFailed("the server closed the connection")
            missing -= len(data)


def churn(plan: Plan) -> list[Figure]:
    """Measure traffic without and with it, in turns on one server."""
    without: list[LoadResult] = []
    beside: list[LoadResult] = []
    rates: list[float] = []
    trouble = ""
    try:
        with lyredb(plan.folder) as running:
            for letter in ROUNDS:
                if letter == "A":
                    without.append(_load(running.mqtt, plan))
                    continue
                churning = Churn(running.mqtt)
                began = time.monotonic()
                with churning.going_on():
                    beside.append(_load(running.mqtt, plan))
                rates.append(churning.answered / (time.monotonic() - began))
                trouble = trouble or churning.trouble
    except (StartFailed, LoadFailed) as error:
        return [Figure("subscribing during full traffic", "", "", None, {}, trouble=str(error))]
    trouble = trouble or "; ".join(
        filter(None, (each.failure or str(each.faults) for each in (*without, *beside)))
    )
    spent = _share(without, beside) * A_SECOND / (sum(rates) / len(rates))
    return [
        Figure(
            "1,000 SUBSCRIBE/s during full traffic",
            "% of a core",
            f"1,000 topics in bursts to one reader of Bench/#; {CLIENTS} clients subscribe to"
            f" topics of their own, one in {_WILDCARD_EACH} with a wildcard, and unsubscribe,"
            f" {min(rates):,.0f} of each a second, here for {A_SECOND:,}; what all processes took"
            " beyond what as much traffic takes without it: so much less a worker does that is"
            f" busy all the time; rounds {ROUNDS} of {plan.round_s:g} s (A = without) on one"
            f" server, {_per_cpu_s(without):,.0f} deliveries per CPU second without;"
            f" {_per_wall_s(without):,.0f} deliveries a second on the clock without and"
            f" {_per_wall_s(beside):,.0f} with it",
            spent * 100,
            {},
            f"at most {AT_MOST:.0%}",
            spent <= AT_MOST,
            trouble,
        )
    ]


def _share(without: list[LoadResult], beside: list[LoadResult]) -> float:
    """The part of a core that went into something else than traffic."""
    used = sum(each.server_cpu_s for each in beside)
    traffic = sum(each.deliveries for each in beside) / _per_cpu_s(without)
    return (used - traffic) / sum(each.wall_s for each in beside)


def _load(target: Target, plan: Plan) -> LoadResult:
    return run_load(target, TRAFFIC, Bounds(wall_s=plan.round_s))


def _per_cpu_s(results: list[LoadResult]) -> float:
    used = sum(each.server_cpu_s for each in results)
    return sum(each.deliveries for each in results) / used if used else 0.0


def _per_wall_s(results: list[LoadResult]) -> float:
    took = sum(each.wall_s for each in results)
    return sum(each.deliveries for each in results) / took if took else 0.0
