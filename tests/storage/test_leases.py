"""Integer keys are leased once, above all that exist, also over restarts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from lyredb.errors import InvalidRecord
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.leases import FIRST_BLOCK, LARGEST_BLOCK, IntegerLeases
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import pack_body
from tests.storage.store import ROOMY, SLOT, Store, put


def put_integer(key: int) -> Mutation:
    return Mutation(SLOT, encode_key(key), Kind.PUT, pack_body({}))


def test_blocks_follow_each_other_and_grow(store: Store) -> None:
    """A table with many records asks seldom."""
    leases = IntegerLeases(store.engine)
    blocks = [leases.lease(SLOT, durable=False) for _ in range(10)]
    assert blocks[0] == range(1, FIRST_BLOCK + 1)
    assert all(one.stop == next_.start for one, next_ in itertools.pairwise(blocks))
    assert [len(block) for block in blocks[-2:]] == [LARGEST_BLOCK] * 2


@pytest.mark.parametrize("largest", [7, 2**31, 2**80])
def test_a_block_is_above_every_integer_key(store: Store, largest: int) -> None:
    """Texts and negative numbers do not count."""
    store.commit(put("zebra"), put_integer(-5), put_integer(largest), put_integer(3))
    assert IntegerLeases(store.engine).lease(SLOT, durable=True).start == largest + 1


def test_only_negative_keys_begin_at_one(store: Store) -> None:
    """Generated keys are positive."""
    store.commit(put_integer(-5))
    assert IntegerLeases(store.engine).lease(SLOT, durable=False).start == 1


def test_a_durable_lease_outlives_the_process(tmp_path: Path) -> None:
    """Who has it may still use it when the writer is started anew."""
    store = Store(tmp_path)
    block = IntegerLeases(store.engine).lease(SLOT, durable=True)
    store.close()
    engine = Engine.open(tmp_path, settings=ROOMY)
    again = IntegerLeases(engine).lease(SLOT, durable=True)
    engine.close()
    assert again.start == block.stop


def test_a_table_that_is_gone_leases_nothing(store: Store) -> None:
    """Its slot may belong to another table soon."""
    with pytest.raises(InvalidRecord):
        IntegerLeases(store.engine).lease(99, durable=True)
