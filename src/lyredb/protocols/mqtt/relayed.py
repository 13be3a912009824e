"""Frames that clients of another worker published, as that worker forwards them.

They were decoded and admitted there, so nothing is checked again: this is the hot loop
of `Publishing.take` without acknowledgements, and with frames of every form that passes
from client to client unchanged.
"""

from __future__ import annotations

from functools import partial

from lyredb.delivery.group import Group
from lyredb.delivery.ingress import Ingress
from lyredb.delivery.message import Message
from lyredb.delivery.routes import Path
from lyredb.errors import LyreError
from lyredb.formats import FORMATS
from lyredb.protocols.mqtt.decode import decode_publish
from lyredb.protocols.mqtt.encoding import raw_kind
from lyredb.protocols.mqtt.packets import V5, V311
from lyredb.protocols.mqtt.properties import Property
from lyredb.resources.database import Database


def read_relayed(database: Database) -> None:
    """Have the frames of every kind that clients publish read, when others forward them."""
    for version in (V311, V5):
        for one in FORMATS:
            database.read_raw(raw_kind(version, one), partial(feed, version))


def feed(version: int, ingress: Ingress, frames: bytes) -> int:
    """Push whole PUBLISH packets in their order.

    Args:
        version: Of the clients they came from, 4 or 5.
        ingress: Of the worker they came from.
        frames: Nothing but whole packets, valid when they came.

    Returns:
        How many were refused: their topic is not one any more.
    """
    # One function with locals only, for the reason that `Publishing.take` gives.
    paths = ingress.paths
    size = len(frames)
    position = start = count = kind = refused = 0
    group: Group | None = None
    ends: list[int] = []
    ids: list[int] = []
    while position < size:
        first = frames[position]
        body = position + 2
        length = frames[position + 1]
        if length > 127:
            length &= 127
            shift = 7
            while True:
                digit = frames[body]
                body += 1
                length |= (digit & 127) << shift
                if digit < 128:
                    break
                shift += 7
        end = body + length
        name = body + 2
        after = name + (frames[body] << 8 | frames[body + 1])
        topic = frames[name:after]
        path = paths.get(topic)
        solo: Group | None = None
        if path is None:
            path = _path(ingress, topic)
        if path is not None:
            solo = path.solo0 if first == 0x30 else path.solo1 if first == 0x32 else path.solo2
        if solo is None or solo is not group or first != kind:
            if group is not None:
                ingress.push_run(group, frames, start, position, count, None, ends, ids)
            group = solo
            kind = first
            start = position
            count = 0
            if ends:
                ends = []
                ids = []
            if solo is None:
                if path is None:
                    refused += 1
                elif not path.idle:
                    _push(ingress, path, version, frames[position:end], body - position)
                position = end
                continue
        count += 1
        position = end
        if first != 0x30:
            ends.append(end)
            ids.append(after)
    if group is not None:
        ingress.push_run(group, frames, start, position, count, None, ends, ids)
    return refused


def _path(ingress: Ingress, topic: bytes) -> Path | None:
    """The path to a topic, ``None`` when there is none here, or not any more."""
    try:
        path = ingress.path(topic)
    except LyreError:
        return None
    return path if path.destination.kind == "direct" else None


def _push(ingress: Ingress, path: Path, version: int, frame: bytes, body: int) -> None:
    """Push one frame to several groups, or to readers of another kind."""
    packet = decode_publish(frame[0], frame[body:], version)
    message = Message.direct(
        packet.topic,
        packet.payload,
        path.destination,
        qos=packet.qos,
        content_type=packet.properties.text(Property.CONTENT_TYPE) or ingress.content_type,
        properties=packet.properties.forward,
    )
    ingress.push(path, message, None, frame, body + packet.id_offset if packet.qos else 0)
