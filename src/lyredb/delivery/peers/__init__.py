"""Messages between the workers of a node: who wants what, one batch per tick and peer.

Each worker tells the others which filters its subscribers have. A direct message is
forwarded once to every worker with a filter that matches, and never further. What the
log gets is not forwarded: each worker follows the log itself. How it works and why:
``DESIGN.md`` of delivery, "Between workers".
"""

from lyredb.delivery.peers.attached import DEFAULT_LIMITS, PeerLimits, Peers, PeersStatistics
from lyredb.delivery.peers.incoming import RawReader
from lyredb.delivery.peers.relay import LANE_TYPES, OTHER_TYPE

__all__ = [
    "DEFAULT_LIMITS",
    "LANE_TYPES",
    "OTHER_TYPE",
    "PeerLimits",
    "Peers",
    "PeersStatistics",
    "RawReader",
]
