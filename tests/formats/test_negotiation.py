"""Which format a client gets, and which one a body is in."""

from __future__ import annotations

import pytest

from lyredb.errors import NotAcceptable
from lyredb.formats import CBOR, JSON, MSGPACK, format_for_content_type, negotiate


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/cbor", "cbor"),
        ("APPLICATION/X-MSGPACK", "msgpack"),
        ("application/*", "cbor"),
        ("application/json, application/cbor", "cbor"),
        ("application/json, application/cbor;q=0.7", "json"),
        ("application/x-msgpack;q=0.9, application/json", "msgpack"),
        ("application/x-msgpack;q=0.8, application/json", "json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "json"),
        ("application/json, text/plain, */*", "json"),
        ("application/json;q=0, */*", "cbor"),
        ("application/cbor;q=0, application/*", "msgpack"),
        ("application/json;q=wrong", "json"),
    ],
)
def test_best_product_of_qualities_wins(accept: str, name: str) -> None:
    """Server's preference times the client's; browsers and fetch libraries get JSON."""
    assert negotiate(accept).name == name


@pytest.mark.parametrize(
    "accept", ["text/html", "application/msgpack", "application/json;q=0", "*/*;q=0", "image/*"]
)
def test_nothing_acceptable_names_what_is(accept: str) -> None:
    """The error lists the supported types."""
    with pytest.raises(NotAcceptable, match=r"application/json, application/cbor, application/x-"):
        negotiate(accept)


def test_only_what_is_offered_is_chosen() -> None:
    """Some answers exist in some formats only."""
    assert negotiate("application/cbor, application/json;q=0.1", (JSON,)) is JSON
    with pytest.raises(NotAcceptable):
        negotiate("application/cbor", (JSON, MSGPACK))


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/problem+json", JSON),
        ("application/senml+cbor", CBOR),
        ("application/cbor", CBOR),
        ("application/msgpack", MSGPACK),
        ("application/vnd.msgpack", MSGPACK),
        ("application/x-msgpack", MSGPACK),
        ("text/plain", None),
        ("application/octet-stream", None),
        ("", None),
    ],
)
def test_content_type_tells_the_format(content_type: str, expected: object) -> None:
    """Parameters and letter case do not matter."""
    assert format_for_content_type(content_type) is expected
