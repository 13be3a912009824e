"""Wills that tests tell apart by a number."""

from __future__ import annotations

from lyredb.sessions.wills import KeptWill, Will
from lyredb.storage.mutation import Kind, Mutation


def will(number: int, lifetime_ms: int = 0, delay_ms: int = 0) -> Will:
    body = b"%d" % number
    return Will(Mutation(20, b"key", Kind.MESSAGE, body=body), lifetime_ms, delay_ms)


def kept(number: int, epoch: int, client_id: str = "c", user: str = "u") -> KeptWill:
    return KeptWill(client_id, epoch, user, will(number))


def number_of(one: Will) -> int:
    return int(one.mutation.body)
