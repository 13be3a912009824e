"""What a session that outlives its connection consists of; the words that rooms share.

A session is a *description* (who owns it, what it subscribes to, when it ends), which is a
record of ``system.session`` and so an entry of the log that every worker follows, and its
*progress*, rows of ``sess`` that commit with the messages they are about.
"""

from __future__ import annotations

from typing import Final

import msgspec

CLIENT_PREFIX: Final = "client/"
"""What the keys of clients' sessions begin with in ``system.session``."""
GROUP_PREFIX: Final = "\0group/"
"""What the names of sessions of shared groups begin with, which stand in the place of client
identifiers; these have no NUL (MQTT 5 §1.5.4)."""
NEVER_EXPIRES_S: Final = 0xFFFF_FFFF
"""A session expiry that means that it never ends by itself (MQTT 5 §3.1.2.11.2)."""


def group_client_id(name: str) -> str:
    """What stands in the place of a client identifier for the session of a group."""
    return GROUP_PREFIX + name.replace("\0", "/")


class StoredSubscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subscription of a session, as its description keeps it.

    Attributes:
        filter: The topic filter as the client sent it, ``$share/…`` and all.
        qos: Granted, 0 to 2.
        identifier: Sent with each message, 0 for none.
        no_local: Leave out what the same session publishes.
        retain_as_published: Keep the publisher's RETAIN flag on changes.
    """

    filter: str
    qos: int = 0
    identifier: int = 0
    no_local: bool = False
    retain_as_published: bool = False


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session as the log knows it.

    Attributes:
        client_id: Whose it is.
        user: Only connections of this user may have it; ``""`` for nobody's.
        epoch: Of the claim whose connection wrote this last; an older owner's writes are
            refused by it.
        number: Stands in log entries as the publisher's session, for as long as it lasts.
        expiry_s: Seconds that it outlives its connection, `NEVER_EXPIRES_S` for ever.
        connected: A connection had it when this was written.
        since_ms: When that connection began, or ended; epoch milliseconds.
        subscriptions: What it is subscribed to.
        doubtful: Entries of the log up to this position may have been sent with QoS 1 by an
            owner that was lost; 0 for none.
    """

    client_id: str
    user: str
    epoch: int
    number: int
    expiry_s: int
    connected: bool
    since_ms: int
    subscriptions: tuple[StoredSubscription, ...] = ()
    doubtful: int = 0
