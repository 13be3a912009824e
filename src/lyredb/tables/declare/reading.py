"""What an instance shows of a record's value: defaults, and nested objects as instances."""

from __future__ import annotations

from typing import Any, Never

from lyredb.errors import StorageFailed
from lyredb.storage.blob import PackedBlob
from lyredb.tables.blob import Blob, blob_of
from lyredb.tables.declare.columns import Column, Read
from lyredb.tables.declare.options import UNSET, Marker
from lyredb.tables.declare.types import PythonType, WrappedClass, read_type


def make_read(column: Column[Any]) -> Read:
    """Return what reads a column. All classes that its type names must exist.

    Absent are read: the column's default, else ``None`` where the type allows it.
    Otherwise the column raises `AttributeError`.
    """
    read = read_type(column)
    absent = column.default
    if isinstance(absent, Marker):
        is_optional = not read.required and column.role in ("plain", "expires")
        absent = None if is_optional else UNSET
    wrap = _wrap_of(read)

    def plain(value: object) -> object:
        if value is not UNSET:
            return value
        if absent is UNSET:
            raise AttributeError(f"the record has no {column.attribute} ({column!r})")
        return absent

    return plain if wrap is None else lambda value: wrap(plain(value))


def _wrap_of(read: PythonType) -> Read | None:
    if read.element is not None:
        inner = _wrap_of(read.element)
        return _each(inner) if inner else None
    if read.scalar == "Blob":
        return _blob
    wrapped = read.nested or read.table
    return _instance(wrapped) if wrapped else None


def _each(inner: Read) -> Read:
    def wrap(value: object) -> object:
        return [inner(item) for item in value] if isinstance(value, list) else value

    return wrap


def _blob(value: object) -> object:
    return value if isinstance(value, Blob) else blob_of(value, _no_file)


def _no_file(blob: PackedBlob) -> Never:
    raise StorageFailed("this record was not read from a database, which has the file of its blob")


def _instance(nested: type[WrappedClass]) -> Read:
    def wrap(value: object) -> object:
        # A record that was written before the type was declared may hold something else.
        return nested.from_dict(value) if isinstance(value, dict) else value

    return wrap
