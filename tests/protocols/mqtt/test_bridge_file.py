"""What a file of bridges may say, and where messages go by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import SettingError
from lyredb.protocols.mqtt.bridge_file import BridgeTopic, Way, password_of, read_bridges

TOPICS = [
    BridgeTopic(filter="sensors/#", direction="out", qos=1, remote_prefix="site7/"),
    BridgeTopic(filter="commands/+", direction="in", qos=2, remote_prefix="site7/"),
    BridgeTopic(filter="#", direction="both", qos=0, local_prefix="l/", remote_prefix="r/"),
]


def test_messages_go_by_the_first_topic_that_fits() -> None:
    out = Way(TOPICS, outwards=True)
    assert out.filters == [("sensors/#", 1), ("l/#", 0)]
    assert out.map("sensors/a/b") == ("site7/sensors/a/b", 1)
    assert out.map("l/x") == ("r/x", 0)
    assert out.map("commands/x") is None


def test_the_way_in_exchanges_the_prefixes() -> None:
    way = Way(TOPICS, outwards=False)
    assert way.filters == [("site7/commands/+", 2), ("r/#", 0)]
    assert way.map("site7/commands/go") == ("commands/go", 2)
    assert way.map("r/x/y") == ("l/x/y", 0)
    assert way.map("sensors/a") is None


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("swordfish\nnot this\n")
    file = tmp_path / "bridges.yaml"
    file.write_text(
        f"cloud:\n  url: mqtt://broker\n  passwordFile: {tmp_path}/secret\n"
        "  topics: [{filter: 'a/#'}]\n"
    )
    (bridge,) = read_bridges(str(file)).values()
    assert (bridge.place, bridge.is_secure, bridge.version) == (("broker", 1883), False, 5)
    assert password_of(bridge) == "swordfish"
    assert read_bridges("") == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("cloud: {url: 'http://x', topics: [{filter: a}]}", "the url must be mqtt://"),
        ("cloud: {url: 'mqtt://x', topics: []}", "name the topics"),
        ("cloud: {url: 'mqtt://x', topics: [{filter: 'a/#/b'}]}", "must be the whole last level"),
        ("cloud: {url: 'mqtt://x', topics: [{filter: a, qos: 3}]}", "Invalid enum value 3"),
        ("cloud: {url: 'mqtt://x', topics: [{filter: a, to: b}]}", "unknown field `to`"),
        (
            "cloud: {url: 'mqtt://x', topics: [{filter: a, localPrefix: '+/'}]}",
            "a prefix has no wildcards",
        ),
        (
            "cloud: {url: 'mqtt://x', password: a, passwordFile: b, topics: [{filter: a}]}",
            "a password or a passwordFile",
        ),
        ("cloud: {url: 'mqtts://x', caFile: /none, topics: [{filter: a}]}", "cannot be read"),
        ("cloud: [", "while parsing"),
    ],
)
def test_a_mistake_names_itself(tmp_path: Path, text: str, wrong: str) -> None:
    file = tmp_path / "bridges.yaml"
    file.write_text(text)
    with pytest.raises(SettingError, match=r"mqtt\.bridges") as caught:
        read_bridges(str(file))
    assert wrong in str(caught.value)


def test_a_password_does_not_print(tmp_path: Path) -> None:
    file = tmp_path / "bridges.yaml"
    file.write_text("c: {url: 'mqtt://x', password: swordfish, topics: [{filter: a}]}")
    assert "swordfish" not in repr(read_bridges(str(file)))
