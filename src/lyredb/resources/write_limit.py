"""What a write of a record may do, when its user may not do everything with the table.

It works on the finished mutation: what a put, a patch or a creation names stands in its
body. Whether it makes or changes a record is known at the commit only; so a write that may
do one of the two gets the condition that decides it there, and a put that may not change
all attributes says which it may (`Mutation.may_change`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from lyredb.errors import LyreError, NotAuthorised, RecordExists, RecordMissing
from lyredb.security.rights import TableRights
from lyredb.storage.body import load_body
from lyredb.storage.mutation import Kind, Mutation, Precondition

_MAX_NAMES = 10
"""Attributes that a refusal names."""


@dataclass(frozen=True, slots=True)
class WriteLimit:
    """The limit of one role on one table.

    Attributes:
        who: Whose limit it is, for messages.
        table: Name of the table, for messages.
        rights: On the table.
        readable: What the role may read, ``None`` for all: a put may carry that back.
        insertable: What a new record may be given, ``None`` for all.
        updatable: What may be changed in a record, ``None`` for all.
    """

    who: str
    table: str
    rights: TableRights
    readable: frozenset[str] | None = None
    insertable: frozenset[str] | None = None
    updatable: frozenset[str] | None = None

    @property
    def restricts(self) -> bool:
        """Tell whether there is a write that may not be."""
        both = self.rights.insert and self.rights.update
        return not both or self.insertable is not None or self.updatable is not None

    @property
    def is_partial(self) -> bool:
        """Tell whether a put leaves attributes as they are: it need not have all of them."""
        return self.updatable is not None

    def applied(self, mutation: Mutation) -> Mutation:
        """Return a put, patch or creation with what its commit has to see to.

        Raises:
            NotAuthorised: It may neither make a record nor change one, or not the one that
                the client asks for; names the attributes that stand in the way.
        """
        if mutation.kind not in (Kind.PUT, Kind.PATCH):
            return mutation
        named = _named(mutation)
        asked = mutation.precondition or Precondition()
        no_insert = self._lacks("insert", mutation, named)
        no_update = self._lacks("update", mutation, named)
        if no_insert and no_update:
            raise self._refusal(no_insert, no_update, asked)
        # Attributes are refused at once where the client wants the one alone; the table's
        # rights at the commit, so that its own condition is told first.
        if no_insert and asked.must_be_absent and self.rights.insert:
            raise no_insert
        if no_update and _needs_record(asked) and self.rights.update:
            raise no_update
        if no_update:
            mutation = replace(mutation, precondition=replace(asked, must_be_absent=True))
        elif no_insert:
            mutation = replace(mutation, precondition=replace(asked, must_exist=True))
        if not no_update and mutation.kind is Kind.PUT and self.updatable is not None:
            mutation = replace(mutation, may_change=tuple(sorted(self.updatable)))
        return mutation

    def require(self, attribute: str) -> None:
        """See to it that an attribute of a record that is there may be changed.

        Raises:
            NotAuthorised: It may not.
        """
        if not self.rights.update:
            raise NotAuthorised(f"{self.who} may not update {self.table}")
        if self.updatable is not None and attribute not in self.updatable:
            raise NotAuthorised(f"{self.who} may not update {self.table}.{attribute[:60]}")

    def refusal(
        self, error: LyreError, mutation: Mutation, asked: Precondition | None
    ) -> NotAuthorised | None:
        """Return the lack of rights behind a condition that did not hold, if it is that.

        A client whose own condition did not hold is told so, with any rights.

        Args:
            error: Why the commit refused it.
            mutation: What was refused.
            asked: The client's own condition.
        """
        asked = asked or Precondition()
        if isinstance(error, RecordExists) and not asked.must_be_absent:
            return self._lacks("update", mutation, _named(mutation))
        if isinstance(error, RecordMissing) and not _needs_record(asked):
            return self._lacks("insert", mutation, _named(mutation))
        return None

    def _refusal(
        self, no_insert: NotAuthorised, no_update: NotAuthorised, asked: Precondition
    ) -> NotAuthorised:
        """Say what is missing, in the sense in which the client most likely meant it."""
        if not (self.rights.insert or self.rights.update):
            return NotAuthorised(f"{self.who} may not insert or update {self.table}")
        return no_insert if asked.must_be_absent or not self.rights.update else no_update

    def _lacks(
        self, right: Literal["insert", "update"], mutation: Mutation, named: frozenset[str] | None
    ) -> NotAuthorised | None:
        """Return what is missing for a record to be made, or for one to be changed."""
        if not getattr(self.rights, right):
            return NotAuthorised(f"{self.who} may not {right} {self.table}")
        allowed = self.insertable if right == "insert" else self.updatable
        if allowed is None:
            return None
        if named is None:
            what = f"bytes that are no object into {self.table}: it may {right} some attributes"
            return NotAuthorised(f"{self.who} may not {right} {what}")
        foreign = named - allowed
        if right == "update" and mutation.kind is Kind.PUT:
            # What it was shown it may send back: that stays as it is.
            foreign = frozenset() if self.readable is None else foreign - self.readable
        if not foreign:
            return None
        names = ", ".join(f"{self.table}.{name[:60]}" for name in sorted(foreign)[:_MAX_NAMES])
        return NotAuthorised(f"{self.who} may not {right} {names}")


def _named(mutation: Mutation) -> frozenset[str] | None:
    """The attributes that a write sets or adds to; ``None`` for bytes that are no record."""
    if mutation.opaque:
        return None
    names = frozenset(load_body(mutation.body) if mutation.body else ())
    return names | frozenset(load_body(mutation.operations) if mutation.operations else ())


def _needs_record(asked: Precondition) -> bool:
    return asked.must_exist or asked.any_of is not None
