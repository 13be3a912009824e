"""Messages that are for one subscriber alone, as the batch that it writes."""

from __future__ import annotations

from collections.abc import Sequence

from lyredb.plugins.delivery import Batch, Message
from lyredb.resources.requests import SubscribeOptions


def batch_of(messages: Sequence[Message], options: SubscribeOptions) -> Batch:
    """Return the frames of messages in order, as the options ask for them.

    Args:
        messages: At least one.
        options: Of the subscription that brings them.
    """
    frames: list[bytes] = []
    ends: list[int] = []
    ids: list[int] = []
    size = 0
    for message in messages:
        frame, id_offset = options.encoding.frame(
            message,
            qos=min(message.qos, options.qos),
            retain=message.current or (message.retain and options.retain_as_published),
            ids=options.ids,
        )
        frames.append(frame)
        ids.append(size + id_offset if id_offset else 0)
        size += len(frame)
        ends.append(size)
    if not any(ids):
        return Batch(b"".join(frames), len(frames))
    return Batch(b"".join(frames), len(frames), ends, ids)
