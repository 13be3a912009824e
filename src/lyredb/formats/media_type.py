"""What a ``Content-Type`` says (RFC 9110 §8.3): the type itself, and the charset of a text."""

from __future__ import annotations

import codecs
import re
from typing import Final

from lyredb.errors import InvalidBody

_CHARSET: Final = re.compile(r';\s*charset\s*=\s*(?:"([^"]*)"|([^\s;"]*))', re.IGNORECASE)
_TYPE: Final = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+\s*(?:;.*)?", re.ASCII)
_MAX_NAME: Final = 40
"""Of a charset: no name is longer, and Python's look-up takes time with its length."""


def essence_of(content_type: str) -> str:
    """Return the media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_media_type(content_type: str) -> bool:
    """Tell whether this is one media type; what its parameters are does not matter."""
    return _TYPE.fullmatch(content_type) is not None


def is_multipart(content_type: str) -> bool:
    """Tell whether a body has parts of their own types."""
    return content_type.lstrip()[:10].lower() == "multipart/"


def is_text(content_type: str) -> bool:
    """Tell whether a body is text, to be read by its charset."""
    return content_type.lstrip()[:5].lower() == "text/"


def charset_of(content_type: str) -> str:
    """Return Python's name of a text's charset, UTF-8 when it has none.

    Raises:
        InvalidBody: There is no such charset, or it is no charset of text.
    """
    found = _CHARSET.search(content_type)
    name = (found[1] or found[2] or "") if found else ""
    if not name:
        return "utf-8"
    try:
        info = codecs.lookup(name[: _MAX_NAME + 1]) if len(name) <= _MAX_NAME else None
    except (LookupError, ValueError):
        info = None
    # Python calls base64 and gzip codecs too; they do not make text of bytes.
    if info is None or not info._is_text_encoding:
        raise InvalidBody(f"the charset {name[:_MAX_NAME]!r} is unknown; utf-8 is the usual one")
    return info.name


def decode_text(data: bytes, content_type: str) -> str:
    """Return a text by the charset that its type names.

    Args:
        data: The body as received.
        content_type: Its type; without a charset it is UTF-8.

    Raises:
        InvalidBody: There is no such charset, or the text is not in it.
    """
    charset = charset_of(content_type)
    try:
        return data.decode(charset)
    except UnicodeError:
        raise InvalidBody(f"the body is not valid {charset}") from None
