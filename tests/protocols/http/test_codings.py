"""Which coding an answer gets, and what that does to its header lines."""

from __future__ import annotations

import pytest

from lyredb.protocols.http.codings import (
    coded_head,
    content_type_in,
    gains,
    plain_tag,
    unmodified_head,
    wish_of,
)
from lyredb.protocols.http.entity_tags import matches_weakly, parse_tags
from lyredb.storage.clock import etag, parse_etag


@pytest.mark.parametrize(
    ("accepted", "coding", "refuses"),
    [
        (b"", "", False),
        (b"identity", "", False),
        (b"gzip, deflate, br, zstd", "br", False),
        (b"gzip, zstd", "zstd", False),
        (b"GZIP", "gzip", False),
        (b"x-gzip", "gzip", False),
        (b"deflate", "", False),
        (b"br;q=0.1, gzip;q=0.5", "gzip", False),
        (b"br;q=0, *", "zstd", False),
        (b"*;q=0", "", True),
        (b"identity;q=0", "", True),
        (b"identity;q=0, gzip", "gzip", True),
        (b"gzip;q=0.5, identity", "", False),
        (b"gzip;q=0.5, identity;q=0.4", "gzip", False),
        (b"*;q=0, identity, br;q=0.2", "", False),
        (b"br;q=wrong", "br", False),
        (b";;,,=;q", "", False),
        (b"br;q=nan", "", False),
    ],
)
def test_the_best_weight_decides_then_our_preference(
    accepted: bytes, coding: str, refuses: bool
) -> None:
    """RFC 9110 §12.5.3."""
    assert wish_of(accepted) == (coding, refuses)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/json", True),
        (b"Application/Problem+JSON; charset=utf-8", True),
        (b"text/csv; charset=utf-8", True),
        (b"text/event-stream", False),
        (b"application/octet-stream", False),
        (b"image/png", False),
        (b"image/svg+xml", True),
        (b"font/woff2", False),
        (b"", False),
    ],
)
def test_only_what_gains_is_compressed(content_type: bytes, expected: bool) -> None:
    """Events leave one by one, and images are compressed already."""
    assert gains(content_type) is expected


def test_each_coding_has_a_tag_of_its_own() -> None:
    """RFC 9110 §8.8.3.3: they are different representations; it stays strong."""
    head = b'content-type: text/plain\r\netag: "abc"\r\n'
    assert coded_head(head, "br") == (
        b'content-type: text/plain\r\netag: "abc.br"\r\ncontent-encoding: br\r\n'
    )
    assert coded_head(b"a: b\r\n", "gzip") == b"a: b\r\ncontent-encoding: gzip\r\n"
    assert content_type_in(head) == b"text/plain"


def test_a_client_may_send_back_the_tag_of_what_was_compressed() -> None:
    """For If-Match as for If-None-Match; it names the state of the record."""
    tag = etag(2**63 + 12345)
    coded = plain_tag(tag)[:-1] + '.br"'
    assert [parse_etag(one) for one in parse_tags(f'{coded}, "x.zstd"')] == [2**63 + 12345, None]
    assert matches_weakly(f'"other", W/{coded}', tag)
    assert not matches_weakly('"other.br"', tag)


def test_no_version_is_taken_for_a_coding() -> None:
    """Tags of versions have no dot, whatever the version is."""
    assert all("." not in etag(version) for version in range(0, 2**64, 2**64 // 5_003))
    assert plain_tag('"1.2"') == '"1.2"'


def test_a_304_names_the_representation_that_the_client_has() -> None:
    """A cache looks for it by its tag (RFC 9111 §4.3.4)."""
    head = b'etag: "abc"\r\nvary: accept\r\n'
    assert unmodified_head(head, b'"x", "abc.zstd"') == b'etag: "abc.zstd"\r\nvary: accept\r\n'
    assert unmodified_head(head, b'"abc", "abc.br"') == head
    assert unmodified_head(head, b"*") == head
