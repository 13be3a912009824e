"""How values become bytes and back: JSON, CBOR, MessagePack; and which one a client gets.

Each format refuses on the way in what no record may hold: values nested deeper than
`MAX_DEPTH`, numbers that are not finite, names that are not strings.
"""

from lyredb.formats.cbor import CBOR, CborFormat
from lyredb.formats.json_text import JSON, JsonFormat, guess_json
from lyredb.formats.limits import MAX_DEPTH
from lyredb.formats.messagepack import MSGPACK, MessagePackFormat
from lyredb.formats.negotiation import FORMATS, StructuredFormat, format_for_content_type, negotiate
from lyredb.formats.pause import PAUSE, Pause

__all__ = [
    "CBOR",
    "FORMATS",
    "JSON",
    "MAX_DEPTH",
    "MSGPACK",
    "PAUSE",
    "CborFormat",
    "JsonFormat",
    "MessagePackFormat",
    "Pause",
    "StructuredFormat",
    "format_for_content_type",
    "guess_json",
    "negotiate",
]
