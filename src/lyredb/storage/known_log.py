"""The log's directory as one engine knows it.

The process that writes replaces it with each commit that changes it. One that reads beside it
follows: it looks at the number of the directory in each transaction that it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyredb.storage import meta
from lyredb.storage.directory import Directory
from lyredb.storage.environment import Environment, Transaction

if TYPE_CHECKING:
    from lyredb.storage.snapshot import Snapshot


class KnownLog:
    """The directory that was in force when it was last looked at.

    Args:
        environment: Where the log is.

    Attributes:
        directory: The segments, oldest first.
        number: Of that directory; it grows with each change.
        follows: Another process changes it.
    """

    __slots__ = ("_environment", "directory", "follows", "number")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.directory: Directory = ()
        self.number = -1
        self.follows = False

    def adopt(self, directory: Directory, number: int) -> None:
        """Use another directory from now on."""
        self.directory, self.number = directory, number

    def directory_of(self, number: int, snapshot: Snapshot) -> Directory:
        """Return the directory that was in force when a snapshot began."""
        if number == self.number:
            return self.directory
        row = snapshot.meta_row(meta.DIRECTORY)
        assert row is not None, "written together with the position"
        return meta.decode_directory(row)

    def begin_read(self) -> Transaction:
        """Begin a read transaction that can see every segment of its log.

        A segment that another process has begun must be opened before the transaction in
        which it is read: a handle does not exist for transactions that are older than it.
        """
        transaction = self._environment.read()
        while self.follows and not self._is_known(transaction):
            transaction.abort()
            self._environment.discover()
            transaction = self._environment.read()
        return transaction

    def _is_known(self, transaction: Transaction) -> bool:
        """Tell whether a transaction sees the directory we know, and learn of it if not."""
        handle = self._environment.handles.meta
        position = transaction.get(meta.POSITION, db=handle)
        assert position is not None, "written together with the format"
        number = meta.decode_position(position)[2]
        if number == self.number:
            return True
        row = transaction.get(meta.DIRECTORY, db=handle)
        assert row is not None, "written together with the position"
        self.adopt(meta.decode_directory(row), number)
        return False
