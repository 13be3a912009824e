"""One path addresses a thing in every protocol."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lyredb.errors import InvalidTopic, LyreError, UnknownTopic
from lyredb.resources.registry import Registry
from lyredb.storage.keys import encode_key
from lyredb.tables.builtin import builtin_tables
from lyredb.tables.layouts import layout_of
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.stored import StoredTable

SDL = """
type Sensor @table @export { id: ID @primaryKey value: Float }
type Counter @table @export { id: Int @primaryKey n: Int }
type Deep @table @export(name: "plant/Deep", mqtt: false) { id: ID @primaryKey }
type Hidden @table { id: ID @primaryKey }
type Loose @table @export { id: Any @primaryKey }
"""
HIDDEN_SLOT = 19


def registry_of(*, open_topics: bool = False) -> Registry:
    schema = parse_sdl(SDL)
    declared = [
        StoredTable(table, layout_of(table, slot, {}))
        for slot, table in enumerate(schema.tables, start=16)
    ]
    return Registry([*builtin_tables(), *declared], open_topics=open_topics)


@pytest.mark.parametrize(
    ("path", "kind", "topic", "record_id"),
    [
        ("Sensor", "table", "Sensor", None),
        ("Sensor/", "collection", "Sensor/#", None),
        ("Sensor/hall/", "collection", "Sensor/hall/+/#", None),
        ("Sensor/hall/1", "record", "Sensor/hall/1", "hall/1"),
        ("Sensor/42", "record", "Sensor/42", "42"),
        ("Counter/42", "record", "Counter/42", 42),
        ("Loose/42", "record", "Loose/42", 42),
        ("Loose/042", "record", "Loose/042", "042"),
        ("plant/Deep/x", "record", "plant/Deep/x", "x"),
        ("Sensor/a.b", "record", "Sensor/a.b", "a.b"),
    ],
)
def test_path_is_resolved_to_what_it_names(
    path: str, kind: str, topic: str, record_id: object
) -> None:
    target = registry_of().resolve(path, "rest")
    assert (target.kind, target.topic, target.id) == (kind, topic, record_id)


def test_dot_names_an_attribute_only_when_it_is_declared() -> None:
    target = registry_of().resolve("Sensor/a.b.value", "rest")
    assert (target.kind, target.id, target.attribute) == ("property", "a.b", "value")


@pytest.mark.parametrize("path", ["Nowhere/x", "", "Hidden/x", "plant", "plant/Other/x", "user/x"])
def test_unknown_path_is_an_unknown_topic(path: str) -> None:
    with pytest.raises(UnknownTopic):
        registry_of().resolve(path, "rest")


@pytest.mark.parametrize(
    "path", ["Sensor//a", "Sensor/a+", "Sensor/a#", "Sensor/a\0", "Counter/007", "Counter/x"]
)
def test_id_that_could_not_be_a_topic_is_refused(path: str) -> None:
    registry = registry_of()
    with pytest.raises(LyreError):
        registry.resolve(path, "rest")
    with pytest.raises(InvalidTopic):
        registry.topic(path, "mqtt")


def test_protocol_switch_hides_the_path_from_that_protocol() -> None:
    registry = registry_of()
    assert registry.resolve("plant/Deep/x", "rest").id == "x"
    with pytest.raises(UnknownTopic):
        registry.topic("plant/Deep/x", "mqtt")


def test_open_topics_take_unknown_roots_byte_for_byte() -> None:
    registry = registry_of(open_topics=True)
    target = registry.topic("/a//ünïcode/", "mqtt")
    assert (target.table.name, target.id) == ("data.Topic", "/a//ünïcode/")
    assert registry.topic("Sensor/1", "mqtt").table.name == "data.Sensor"


@pytest.mark.parametrize("path", ["a\0b", "a+b", "a#", "x/+", "y" * 70_000])
def test_path_that_is_no_legal_topic_is_refused_in_open_topics(path: str) -> None:
    """Delivered as a topic name it would make every subscriber of `#` disconnect."""
    with pytest.raises(InvalidTopic):
        registry_of(open_topics=True).resolve(path, "rest")


@pytest.mark.parametrize("path", ["/", "/a", "//b", "/a//c"])
def test_empty_first_level_is_a_level_like_others(path: str) -> None:
    registry = registry_of(open_topics=True)
    assert registry.topic(path, "mqtt").id == path
    if not path.endswith("/"):
        assert registry.resolve(path, "rest").id == path


@pytest.mark.parametrize("topic", ["$SYS/x", "health", "metrics/x"])
def test_topics_of_the_server_are_not_open(topic: str) -> None:
    with pytest.raises(UnknownTopic):
        registry_of(open_topics=True).topic(topic, "mqtt")


def test_topic_and_record_find_each_other() -> None:
    registry = registry_of(open_topics=True)
    for topic in ("Sensor/a/b", "Counter/-7", "Loose/7", "Loose/x", "any/thing"):
        target = registry.topic(topic, "mqtt")
        assert registry.of(target.table.slot, target.key) == (topic.encode(),)


def test_open_topic_below_a_later_export_is_served_no_more() -> None:
    """Its root belongs to the table now, and two things must not have one topic."""
    registry = registry_of(open_topics=True)
    assert registry.of(3, encode_key("Sensor/1")) == ()


def test_table_without_export_has_topics_for_this_process_only() -> None:
    registry = registry_of()
    (topic,) = registry.of(HIDDEN_SLOT, encode_key("x"))
    assert topic == f"\0{HIDDEN_SLOT}/x".encode()
    assert registry.topic(topic.decode(), "python").id == "x"
    for protocol in ("mqtt", "rest", "sse", "ws"):
        with pytest.raises(UnknownTopic):
            registry.topic(topic.decode(), protocol)


def test_two_exports_of_one_path_are_refused() -> None:
    schema = parse_sdl(SDL).tables[0]
    tables = [StoredTable(schema, layout_of(schema, slot, {})) for slot in (16, 17)]
    with pytest.raises(InvalidTopic, match="both exported as 'Sensor'"):
        Registry([*builtin_tables(), *tables], open_topics=False)


def test_a_short_root_and_a_longer_one_below_it_are_told_apart() -> None:
    """The longest root wins; what only begins like it belongs to the shorter one."""
    schema = parse_sdl(
        'type A @table @export(name: "plant") { id: ID @primaryKey }\n'
        'type B @table @export(name: "plant/Deep", rest: false) { id: ID @primaryKey }'
    )
    declared = [
        StoredTable(table, layout_of(table, slot, {}))
        for slot, table in enumerate(schema.tables, start=16)
    ]
    registry = Registry([*builtin_tables(), *declared], open_topics=False)
    assert registry.resolve("plant/x", "rest").table.name == "data.A"
    assert registry.resolve("plant/Deeper/x", "rest").table.name == "data.A"
    assert registry.resolve("plant/Deep/x", "mqtt").table.name == "data.B"
    with pytest.raises(UnknownTopic):
        registry.resolve("plant/Deep/x", "rest")


def test_located_key_is_the_one_that_is_stored() -> None:
    for path in ("Sensor/hall/1", "Counter/42", "Loose/42"):
        target = registry_of().resolve(path, "rest")
        assert target.id is not None
        assert target.key == target.table.encode_key(target.id)


@pytest.mark.parametrize(
    "topic",
    [
        *("Sensor/a", "Counter/7", "Counter/x", "plant/Deep/x", "plant", "plant/x", "a", "a//b"),
        *("/", "health", "$SYS/x", f"\0{HIDDEN_SLOT}/a", "\x0018", "a/" * 300 + "ä"),
    ],
)
@pytest.mark.parametrize("open_topics", [False, True])
@pytest.mark.parametrize("protocol", ["mqtt", "python"])
def test_a_topic_is_required_as_it_is_resolved(
    topic: str, open_topics: bool, protocol: str
) -> None:
    """The short way refuses what the long one refuses, with the same words."""
    registry = registry_of(open_topics=open_topics)

    def told(act: Callable[[str, str], object]) -> tuple[type[LyreError], str] | None:
        try:
            act(topic, protocol)
        except LyreError as error:
            return type(error), str(error)
        return None

    assert told(registry.require_topic) == told(registry.topic)
