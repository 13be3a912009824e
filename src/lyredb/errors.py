"""Every error of LyreDB by its meaning; this module imports nothing of the package.

::

    LyreError
    ├── InvalidInput (ValueError)       what the caller sent cannot be used as it is
    │   ├── InvalidBody                 bytes that are not what their content type says
    │   │   └── NestingTooDeep
    │   ├── InvalidRecord               a record that breaks its table's schema
    │   ├── InvalidKey                  a key that the table cannot have
    │   ├── InvalidTopic                a topic or topic filter that is not legal
    │   ├── InvalidQuery                conditions, limit or select that make no sense
    │   │   └── QueryTooCostly          it would cost more than a query may
    │   ├── InvalidHeader               a header whose value cannot be read
    │   │   └── RangeNotSatisfiable     the content ends before the part that was asked for
    │   ├── SchemaError                 a schema declaration, with file, line and column
    │   ├── SettingError                a setting, with its key and what is allowed
    │   └── UnsupportedContentType
    │       └── UnsupportedCoding       compressed in a way that nobody here reads
    ├── NotFound (LookupError)
    │   ├── RecordNotFound
    │   ├── UnknownTopic                no table is exported at this path or topic
    │   └── UnknownAttribute
    ├── AuthenticationError
    │   ├── LoginFailed                 wrong name or password, or an inactive user
    │   └── LoginRequired               no credentials where rights are needed
    ├── NotAuthorised (PermissionError)
    ├── UnsupportedOperation            the target exists but does not do this
    ├── NotAcceptable                   none of the accepted formats can be made
    ├── Conflict
    │   ├── RecordExists
    │   ├── PreconditionFailed
    │   │   └── RecordMissing           a record that has to be there is not
    │   ├── WriteConflict
    │   ├── RoleInUse                   a role that users have cannot be deleted
    │   └── LastSuperUser               somebody must be able to administer
    ├── TooLarge
    │   ├── BodyTooLarge
    │   ├── RecordTooLarge
    │   └── TransactionTooLarge
    ├── Timeout (TimeoutError)          the peer was too slow
    ├── Overloaded                      try again later
    │   ├── IndexRebuilding             an index that the query needs is being built
    │   ├── SlowSubscriber              a subscriber that cannot keep up
    │   └── TooManyAttempts             too many wrong passwords
    ├── SessionTakenOver                another connection uses the client id now
    ├── ServerStopping
    ├── PositionLost                    the log no longer reaches back to a position
    └── StorageError
        ├── DiskFull                    rolled back; the same write may be tried again
        ├── StorageFailed               the write may or may not be on disk
        ├── EngineClosed
        ├── FormatMismatch              the data directory has an unknown format
        └── DataDirectoryInUse

A message says what was wrong and what to do; it never carries a path, another
user's data or a traceback to a client. Each protocol owns one total table from
these classes to its own codes.
"""

from __future__ import annotations

from collections.abc import Iterable


class LyreError(Exception):
    """Base class of all errors that LyreDB raises on purpose.

    Attributes:
        mutation: Which write of a transaction was refused, from 0; ``None`` when it was
            the only one, or no single one.
    """

    mutation: int | None = None


class InvalidInput(LyreError, ValueError):
    """What the caller sent cannot be used as it is."""


class InvalidBody(InvalidInput):
    """The bytes are not what their content type says."""


class NestingTooDeep(InvalidBody):
    """The value is nested deeper than the limit."""


class InvalidRecord(InvalidInput):
    """The record breaks its table's schema.

    Attributes:
        problems: One sentence per violation, in the order of the attributes.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(". ".join(problems))
        self.problems = problems


class InvalidKey(InvalidInput):
    """The table cannot have a record with this key."""


class InvalidTopic(InvalidInput):
    """The topic or topic filter is not legal (MQTT 5 §4.7)."""


class InvalidQuery(InvalidInput):
    """Conditions, limit or select cannot be understood."""


class QueryTooCostly(InvalidQuery):
    """The query would cost more than one may; the message names the limit."""


class InvalidHeader(InvalidInput):
    """A header's value cannot be read."""


class RangeNotSatisfiable(InvalidHeader):
    """No byte of the content is in the range that was asked for.

    Attributes:
        size: Of the content, in bytes.
    """

    def __init__(self, message: str, *, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class SchemaError(InvalidInput):
    """A schema declaration is wrong.

    Attributes:
        file: The name of the file or module, or ``""`` for schema text.
        line: 1-based, 0 when unknown.
        column: 1-based, 0 when unknown.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0) -> None:
        where = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.file = file
        self.line = line
        self.column = column


class SettingError(InvalidInput):
    """A setting is unknown or has a value that is not allowed.

    Attributes:
        key: The dotted name of the setting, such as ``mqtt.network.port``.
        allowed: What is allowed, as a phrase.
    """

    def __init__(self, key: str, problem: str, *, allowed: str = "") -> None:
        super().__init__(f"{key}: {problem}" + (f"; allowed: {allowed}" if allowed else ""))
        self.key = key
        self.allowed = allowed


class UnsupportedContentType(InvalidInput):
    """The operation needs a structured body and this content type is none."""


class UnsupportedCoding(UnsupportedContentType):
    """The body is compressed in a way that is not taken."""


class NotFound(LyreError, LookupError):
    """What was named does not exist."""


class RecordNotFound(NotFound):
    """The table has no record with this key.

    Attributes:
        deleted_ms: When it was deleted, in epoch ms; 0 when that is not known or not told.
    """

    def __init__(self, message: str, *, deleted_ms: int = 0) -> None:
        super().__init__(message)
        self.deleted_ms = deleted_ms


class UnknownTopic(NotFound):
    """No table is exported at this path or topic."""


class UnknownAttribute(NotFound):
    """The table has no such attribute."""


class AuthenticationError(LyreError):
    """The caller is not known to be who it says."""


class LoginFailed(AuthenticationError):
    """The name or password is wrong, or the user is inactive."""


class LoginRequired(AuthenticationError):
    """No credentials were sent where rights are needed."""


class NotAuthorised(LyreError, PermissionError):
    """The user is known and may not do this."""


class UnsupportedOperation(LyreError):
    """The target exists but does not do this.

    Attributes:
        allowed: The operations that it does, in the protocol's own words.
    """

    def __init__(self, message: str, *, allowed: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class NotAcceptable(LyreError):
    """None of the formats that the client accepts can be made."""


class Conflict(LyreError):
    """The write contradicts the present state of the record."""


class RecordExists(Conflict):
    """A record with this key exists already."""


class PreconditionFailed(Conflict):
    """A condition of the request does not hold for the record at commit."""


class RecordMissing(PreconditionFailed):
    """The record has to be there, and is not."""


class WriteConflict(Conflict):
    """Another transaction changed what this one has read."""


class RoleInUse(Conflict):
    """There are users with this role; give them another one first."""


class LastSuperUser(Conflict):
    """Nobody could administer the server afterwards."""


class TooLarge(LyreError):
    """Something is larger than its limit."""


class BodyTooLarge(TooLarge):
    """The message or body is larger than the listener takes."""


class RecordTooLarge(TooLarge):
    """The record is larger than a record may be."""


class TransactionTooLarge(TooLarge):
    """The transaction has too many mutations or bytes."""


class Timeout(LyreError, TimeoutError):
    """The peer was too slow."""


class Overloaded(LyreError):
    """Too much is waiting already.

    Attributes:
        retry_after_s: When another try makes sense, in seconds.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class IndexRebuilding(Overloaded):
    """An index that the query needs is being built; the same query works later."""


class SlowSubscriber(Overloaded):
    """A subscriber reads slower than it is written to, beyond its buffer."""


class TooManyAttempts(Overloaded):
    """Too many wrong passwords came from an address or for a user name."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            f"too many failed logins; try again in {retry_after_s} s", retry_after_s=retry_after_s
        )


class SessionTakenOver(LyreError):
    """Another connection uses the same client id now (MQTT 5 §3.1.4)."""


class ServerStopping(LyreError):
    """The server is shutting down."""


class PositionLost(LyreError):
    """The log no longer reaches back to the position, or is another log."""


class StorageError(LyreError):
    """The engine could not do what was asked."""


class DiskFull(StorageError):
    """The disk is below its minimum of free space; nothing was written."""


class StorageFailed(StorageError):
    """The write may or may not be on disk; the engine is read-only now."""


class EngineClosed(StorageError):
    """The engine was closed; nothing was written."""


class FormatMismatch(StorageError):
    """The data directory was written in a format that this version cannot read."""


class DataDirectoryInUse(StorageError):
    """Another process has the data directory open."""
