from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lyredb.storage.clock import Clock, etag, parse_etag, version_ms, wire_version


@given(st.lists(st.integers(0, 2**41), min_size=1))
def test_versions_grow_whatever_the_wall_clock_does(times: list[int]) -> None:
    """A clock that is set back, or stands, does not make two writes look the other way round."""
    readings = iter(times)
    clock = Clock(lambda: next(readings))
    versions = [clock.tick() for _ in times]
    assert all(left < right for left, right in pairwise(versions))
    assert all(version_ms(version) >= ms for version, ms in zip(versions, times, strict=True))


def test_a_restored_clock_stays_above_the_log() -> None:
    """Also when the machine came back with an earlier date."""
    assert Clock(lambda: 5, last=(1000 << 12) + 7).tick() == (1000 << 12) + 8


def test_the_wire_version_is_exact_until_2039() -> None:
    """Milliseconds with the counter as their fraction."""
    version = (2_177_000_000_000 << 12) + 4095
    assert wire_version(version) * 4096 == version


@given(st.integers(0, 2**64 - 1))
def test_an_entity_tag_is_ten_characters_for_all_64_bits(version: int) -> None:
    """Strong and weak tags name the same version."""
    tag = etag(version)
    assert len(tag) == 12
    assert parse_etag(tag) == parse_etag("W/" + tag) == version
    assert not set(tag[1:-1]) & set('", \\')


@given(st.text(max_size=14))
def test_a_foreign_entity_tag_is_none_of_ours(text: str) -> None:
    """What a client sends never raises."""
    version = parse_etag(text)
    assert version is None or 0 <= version < 2**64
