"""How values become bytes and back: JSON, CBOR, MessagePack; and which one a client gets.

Answers over HTTP may also be YAML, NDJSON, CSV, plain text or a form, and bodies NDJSON.

Each format refuses on the way in what no record may hold: values nested deeper than
`MAX_DEPTH`, numbers that are not finite, names that are not strings.
"""

from lyredb.formats.cbor import CBOR, CborFormat
from lyredb.formats.csv_text import CSV, EXACT_CSV, CsvFormat
from lyredb.formats.form_text import FORM
from lyredb.formats.json_text import JSON, JsonFormat, guess_json
from lyredb.formats.limits import MAX_DEPTH
from lyredb.formats.media_type import (
    charset_of,
    decode_text,
    essence_of,
    is_media_type,
    is_multipart,
    is_text,
)
from lyredb.formats.messagepack import MSGPACK, MessagePackFormat
from lyredb.formats.ndjson import NDJSON
from lyredb.formats.negotiation import (
    ANSWERS,
    FORMATS,
    AnswerFormat,
    BodyFormat,
    StructuredFormat,
    body_format,
    force_format,
    format_for_content_type,
    negotiate,
)
from lyredb.formats.pause import PAUSE, Pause
from lyredb.formats.plain_text import PLAIN_TEXT
from lyredb.formats.yaml_answer import YAML

__all__ = [
    "ANSWERS",
    "CBOR",
    "CSV",
    "EXACT_CSV",
    "FORM",
    "FORMATS",
    "JSON",
    "MAX_DEPTH",
    "MSGPACK",
    "NDJSON",
    "PAUSE",
    "PLAIN_TEXT",
    "YAML",
    "AnswerFormat",
    "BodyFormat",
    "CborFormat",
    "CsvFormat",
    "JsonFormat",
    "MessagePackFormat",
    "Pause",
    "StructuredFormat",
    "body_format",
    "charset_of",
    "decode_text",
    "essence_of",
    "force_format",
    "format_for_content_type",
    "guess_json",
    "is_media_type",
    "is_multipart",
    "is_text",
    "negotiate",
]
