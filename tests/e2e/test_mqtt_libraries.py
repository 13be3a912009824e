"""Other people's libraries over every transport: paho-mqtt, MQTT.js, mosquitto's tools.

Each sleeps and wakes and publishes and hears with QoS 2, and what one library says with
properties of MQTT 5 the others hear as it was said.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.e2e.mqtt_libraries import (
    HAS_MOSQUITTO,
    HAS_MQTT_JS,
    HOUR_S,
    TRANSPORTS,
    Heard,
    Mosquitto,
    MqttJs,
    Node,
    Paho,
    Place,
    Station,
    node,
)
from tests.e2e.secure_server import secure_server
from tests.e2e.server_process import ServerProcess
from tests.protocols.net.authority import authority

Make: TypeAlias = Callable[..., Station]
"""A station by library, and optionally transport and version."""
LIBRARIES = {
    "paho": [],
    "mqtt.js": [pytest.mark.skipif(not HAS_MQTT_JS, reason="MQTT.js is not installed")],
    "mosquitto": [
        pytest.mark.mosquitto,
        pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto-clients is not installed"),
    ],
}
ANY_LIBRARY = [pytest.param(name, marks=marks) for name, marks in LIBRARIES.items()]
VERSIONS = {"v3.1": 3, "v3.1.1": 4, "v5": 5}
SPOKEN = {"paho": TRANSPORTS, "mqtt.js": TRANSPORTS, "mosquitto": ("tcp", "tls")}
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """A server with all of its ports."""
    with secure_server(folder) as process:
        yield process


@pytest.fixture(scope="module")
def javascript() -> Iterator[Node | None]:
    with node() as process:
        yield process


@pytest.fixture
def make(server: ServerProcess, folder: Path, javascript: Node | None) -> Make:
    # `authority.pem` of the server is that of clients; here both are the same.
    file = folder / "trusted.pem"
    authority().cert_pem.write_to_path(file)

    def made(library: str, transport: str = "tcp", version: int = 5) -> Station:
        place = Place(server, transport, version, file)
        name = f"{library}-{transport}-{version}-{next(_NUMBERS)}"
        if library == "mqtt.js":
            assert javascript is not None
            return MqttJs(place, name, javascript)
        return Paho(place, name) if library == "paho" else Mosquitto(place, name)

    return made


def assert_heard(heard: list[Heard], qos1: list[bytes], qos2: list[bytes]) -> None:
    """All once and in order. These libraries hand QoS 2 over at its PUBREL, hence by QoS."""
    assert [one.payload for one in heard if one.qos == 1] == qos1
    assert [one.payload for one in heard if one.qos == 2] == qos2
    assert not any(one.retain for one in heard)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("library", "transport"),
    [
        pytest.param(name, transport, marks=marks)
        for name, marks in LIBRARIES.items()
        for transport in SPOKEN[name]
    ],
)
def test_a_session_sleeps_and_hears_all_once_and_in_order(
    make: Make, library: str, transport: str, version: str
) -> None:
    """Published by the same library with QoS 1 and 2, while the session sleeps and awake."""
    topic = f"Sensor/{library}/{transport}/{version}"
    sleeper, speaker = (make(library, transport, VERSIONS[version]) for _ in range(2))
    sleeper.connect()
    assert not sleeper.was_present
    sleeper.subscribe(f"{topic}/#", qos=2)
    sleeper.leave()
    waiting = [b"waiting-%d" % number for number in range(25)]
    speaker.connect()
    speaker.publish(f"{topic}/a", waiting, qos=2)
    speaker.publish(f"{topic}/b", waiting, qos=1)
    sleeper.connect()
    assert sleeper.was_present is not False
    assert_heard(sleeper.hear(50), waiting, waiting)
    # Nothing comes twice: the next that it hears is what is said next, by itself, too.
    sleeper.publish(f"{topic}/a", [b"own"], qos=2)
    speaker.publish(f"{topic}/a", [b"last"], qos=2)
    assert_heard(sleeper.hear(2), [], [b"own", b"last"])
    sleeper.leave()
    speaker.publish(f"{topic}/a", [b"later"], qos=2)
    sleeper.connect()
    assert_heard(sleeper.hear(1), [], [b"later"])
    sleeper.leave()
    speaker.leave()


PROPERTIES: dict[str, object] = {
    "PayloadFormatIndicator": 1,
    "MessageExpiryInterval": HOUR_S,
    "ContentType": "text/plain",
    "ResponseTopic": "Sensor/answers",
    "CorrelationData": b"question-7",
    "UserProperty": [("unit", "°C"), ("unit", "K"), ("site", "roof")],
}


def assert_told(heard: Heard, identifier: int) -> None:
    """As it was said, beside the time that has passed and the reader's own identifier."""
    told = dict(heard.properties)
    left_s = told.pop("MessageExpiryInterval")
    assert isinstance(left_s, int)
    assert HOUR_S - 60 <= left_s <= HOUR_S
    assert told.pop("SubscriptionIdentifier") == [identifier]
    said = {name: value for name, value in PROPERTIES.items() if name != "MessageExpiryInterval"}
    assert told == said


@pytest.mark.parametrize("reader", ANY_LIBRARY)
@pytest.mark.parametrize("writer", ANY_LIBRARY)
def test_properties_are_heard_as_they_were_said(make: Make, writer: str, reader: str) -> None:
    """By one who listens and by one who slept, with a topic alias of the writer's."""
    topic = f"Sensor/properties/{writer}/{reader}"
    awake, asleep, speaker = make("paho"), make(reader), make(writer)
    for number, station in enumerate((awake, asleep), 7):
        station.connect()
        station.subscribe(topic, qos=1, identifier=number)
    asleep.leave()
    speaker.connect()
    speaker.publish(topic, [b"20", b"21"], qos=1, properties=PROPERTIES | {"TopicAlias": 1})
    asleep.connect()
    for number, station in enumerate((awake, asleep), 7):
        heard = station.hear(2)
        assert [(one.topic, one.payload) for one in heard] == [(topic, b"20"), (topic, b"21")]
        for one in heard:
            assert_told(one, number)
        station.leave()
    speaker.leave()
