"""The cache of routes: whatever topics come, it takes a bounded part of the memory."""

from __future__ import annotations

import tracemalloc

from lyredb.delivery.routes import MAX_ROUTES, MAX_TOPIC_BYTES, Route, RouteTable


def route_to(topic: bytes) -> Route:
    return Route(topic, (4, topic), (), None, ())


def test_long_topics_fill_the_table_before_its_count_does() -> None:
    """65,536 topics of 60 kB, which MQTT allows, would be 4 GB."""
    table = RouteTable()
    count = 0
    while not table.is_full:
        table.add(route_to(b"%08d" % count + b"x" * 50_000))
        count += 1
    assert MAX_TOPIC_BYTES // 50_000 <= count < MAX_ROUTES // 100
    table.drop_all()
    assert not table.is_full


def test_dropped_routes_leave_nothing_behind() -> None:
    """A client that subscribes, publishes and unsubscribes for days must not fill the memory."""
    table = RouteTable()
    tracemalloc.start()
    try:
        for number in range(20_000):
            route = route_to(b"topic/%08d" % number)
            table.add(route)
            table.drop((route,))
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 500_000
