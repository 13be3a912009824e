"""Every error of LyreDB in the reason codes of MQTT: one total table.

A test walks all subclasses of `LyreError` and fails on one without a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lyredb import errors
from lyredb.protocols.mqtt.reasons import Reason


class Answer(NamedTuple):
    """What an error is called in each packet that can name it.

    Attributes:
        publish: In a PUBACK (MQTT 5 §3.4.2.1).
        subscribe: In a SUBACK (§3.9.3).
        end: In a DISCONNECT (§3.14.2.1) or CONNACK.
        lasting: True when the same packet would be refused again; then a 3.1.1
            client gets a PUBACK without effect, since it would otherwise send it for
            ever. Else it gets none and the connection is closed: it may try again.
    """

    publish: Reason
    subscribe: Reason
    end: Reason
    lasting: bool = True


_UNSPECIFIED = Reason.UNSPECIFIED_ERROR
_SPECIFIC = Reason.IMPLEMENTATION_SPECIFIC_ERROR
_TOPIC = Reason.TOPIC_NAME_INVALID
_FILTER = Reason.TOPIC_FILTER_INVALID
_FORMAT = Reason.PAYLOAD_FORMAT_INVALID
_DENIED = Reason.NOT_AUTHORIZED
_QUOTA = Reason.QUOTA_EXCEEDED

_BAD_PAYLOAD = Answer(_FORMAT, _UNSPECIFIED, _FORMAT)
_BAD_TOPIC = Answer(_TOPIC, _FILTER, _TOPIC)
_BAD_REQUEST = Answer(_SPECIFIC, _UNSPECIFIED, _SPECIFIC)
_CONFLICT = Answer(_SPECIFIC, _SPECIFIC, _SPECIFIC)
_BAD_LOGIN = Answer(_DENIED, _DENIED, Reason.BAD_USER_NAME_OR_PASSWORD)
_TOO_LARGE = Answer(_QUOTA, _QUOTA, Reason.PACKET_TOO_LARGE)
_BROKEN = Answer(_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED, lasting=False)
_BUSY = Answer(_QUOTA, _QUOTA, Reason.SERVER_BUSY, lasting=False)
_STOPPING = Answer(_UNSPECIFIED, _UNSPECIFIED, Reason.SERVER_SHUTTING_DOWN, lasting=False)

ANSWERS: Mapping[type[errors.LyreError], Answer] = MappingProxyType(
    {
        errors.LyreError: _BROKEN,
        errors.InvalidInput: _BAD_REQUEST,
        errors.InvalidBody: _BAD_PAYLOAD,
        errors.NestingTooDeep: _BAD_PAYLOAD,
        errors.InvalidRecord: _BAD_PAYLOAD,
        errors.InvalidKey: _BAD_TOPIC,
        errors.InvalidTopic: _BAD_TOPIC,
        errors.InvalidQuery: _BAD_REQUEST,
        errors.QueryTooCostly: _BAD_REQUEST,
        errors.InvalidHeader: _BAD_REQUEST,
        errors.RangeNotSatisfiable: _BAD_REQUEST,
        errors.SchemaError: _BAD_REQUEST,
        errors.SettingError: _BAD_REQUEST,
        errors.UnsupportedContentType: _BAD_PAYLOAD,
        errors.UnsupportedCoding: _BAD_PAYLOAD,
        errors.NotFound: _BAD_TOPIC,
        errors.RecordNotFound: _BAD_TOPIC,
        errors.UnknownTopic: _BAD_TOPIC,
        errors.UnknownAttribute: _BAD_TOPIC,
        errors.AuthenticationError: _BAD_LOGIN,
        errors.LoginFailed: _BAD_LOGIN,
        errors.LoginRequired: Answer(_DENIED, _DENIED, _DENIED),
        errors.NotAuthorised: Answer(_DENIED, _DENIED, _DENIED),
        errors.UnsupportedOperation: _BAD_REQUEST,
        errors.NotAcceptable: _BAD_REQUEST,
        errors.Conflict: _CONFLICT,
        errors.RecordExists: _CONFLICT,
        errors.PreconditionFailed: _CONFLICT,
        errors.RecordMissing: _CONFLICT,
        errors.WriteConflict: _CONFLICT._replace(lasting=False),
        errors.RoleInUse: _CONFLICT,
        errors.LastSuperUser: _CONFLICT,
        errors.TooLarge: _TOO_LARGE,
        errors.BodyTooLarge: _TOO_LARGE,
        errors.RecordTooLarge: _TOO_LARGE,
        errors.TransactionTooLarge: _TOO_LARGE,
        errors.Timeout: Answer(
            _UNSPECIFIED, _UNSPECIFIED, Reason.KEEP_ALIVE_TIMEOUT, lasting=False
        ),
        errors.Overloaded: _BUSY,
        errors.IndexRebuilding: _BUSY,
        errors.SlowSubscriber: _BUSY._replace(end=_QUOTA),
        errors.TooManyAttempts: _BUSY._replace(end=_QUOTA),
        errors.SessionTakenOver: _BROKEN._replace(end=Reason.SESSION_TAKEN_OVER),
        errors.ServerStopping: _STOPPING,
        errors.PositionLost: _BROKEN,
        errors.StorageError: _BROKEN,
        errors.DiskFull: Answer(_QUOTA, _QUOTA, _QUOTA, lasting=False),
        errors.StorageFailed: _BROKEN,
        errors.EngineClosed: _STOPPING,
        errors.FormatMismatch: _BROKEN,
        errors.DataDirectoryInUse: _BROKEN,
    }
)
"""One row per class; the reason string of each answer is the error's own sentence."""

_WORDLESS = Answer(_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED, lasting=False)


def answer_for(error: Exception) -> Answer:
    """The row of an error, of its nearest base class for classes of applications."""
    for base in type(error).__mro__:
        found = ANSWERS.get(base)
        if found is not None:
            return found
    return _WORDLESS


def sentence_of(error: Exception) -> str:
    """What a client may read of an error; nothing of those that are not ours."""
    return str(error) if isinstance(error, errors.LyreError) else "Internal error"
