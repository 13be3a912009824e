"""An error as data, so that another process, or a later one, gets it as it was."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lyredb import errors
from lyredb.errors import LyreError

_CLASSES: Final[dict[str, type[LyreError]]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, LyreError)
}


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """One error.

    Attributes:
        name: Its class in `lyredb.errors`, or the next of its bases that is there.
        arguments: What it says.
        attributes: What it has beside.
    """

    name: str
    arguments: tuple[str, ...]
    attributes: dict[str, Any] = {}


def failure_of(error: LyreError) -> Failure:
    """Return an error as data. Texts, numbers and sequences among its attributes stay."""
    name = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _CLASSES)
    return Failure(name, tuple(map(str, error.args)), dict(vars(error)))


def error_of(failure: Failure) -> LyreError:
    """Return the error that was made to data; one that a later version made is a `LyreError`."""
    kind = _CLASSES.get(failure.name, LyreError)
    error = kind.__new__(kind, *failure.arguments)
    for name, value in failure.attributes.items():
        setattr(error, name, tuple(value) if isinstance(value, list) else value)
    return error
