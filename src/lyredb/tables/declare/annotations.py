"""From a class body to its columns."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, ForwardRef, get_args, get_origin

from lyredb.errors import SchemaError
from lyredb.tables.declare.columns import Column, Rel
from lyredb.tables.declare.options import UNSET, FieldOptions
from lyredb.tables.declare.places import schema_error
from lyredb.tables.hints import did_you_mean


def make_columns(
    cls: type, local_names: Mapping[str, object], reserved: frozenset[str]
) -> dict[str, Column[Any]]:
    """Return the columns that a class body declares, by their Python names.

    Args:
        cls: The class, just made.
        local_names: Of the scope that the class stands in.
        reserved: Names that no column may have.

    Raises:
        SchemaError: With file and line.
    """
    columns: dict[str, Column[Any]] = {}
    annotations: dict[str, object] = inspect.get_annotations(cls)
    names = _Names(cls, local_names)
    for name, annotation in annotations.items():
        column = _annotated(cls, name, annotation, names)
        if column is not None:
            columns[name] = column
    for name, value in list(vars(cls).items()):
        if isinstance(value, Column) and name not in annotations:
            columns[name] = value
        elif isinstance(value, FieldOptions) and name not in annotations:
            raise schema_error("it needs an annotation such as Col[float]", cls, name)
    for name in columns:
        if name in reserved:
            raise schema_error(
                f"the name {name} is taken; write {name}_: … = field(name={name!r})", cls, name
            )
    return columns


def _annotated(cls: type, name: str, annotation: object, names: _Names) -> Column[Any] | None:
    """The column of one annotation; ``None`` for what is declared to be none."""
    while isinstance(annotation, str):  # quoted, and with deferred annotations quoted twice
        annotation = _evaluated(cls, name, annotation, names)
    origin = get_origin(annotation) or annotation
    if origin is ClassVar:
        return None
    if not (isinstance(origin, type) and issubclass(origin, Column)):
        raise _no_column(cls, name, annotation)
    arguments = get_args(annotation)
    if not arguments:
        raise schema_error(f"write the type in brackets: {origin.__name__}[float]", cls, name)
    given = cls.__dict__.get(name, UNSET)
    options = FieldOptions() if given is UNSET else given
    if isinstance(options, FieldOptions):
        _check_kind(cls, name, origin, options)
        return origin(arguments[0], options)
    raise schema_error(f"a default is written field(default={given!r})", cls, name)


def _check_kind(cls: type, name: str, kind: type[Column[Any]], options: FieldOptions) -> None:
    if issubclass(kind, Rel) and options.joined is None:
        raise schema_error("say by what: … = relationship(from_=…) or (to=…)", cls, name)
    if options.joined is not None and not issubclass(kind, Rel):
        raise schema_error("a relationship is written Rel[…] = relationship(…)", cls, name)


def _no_column(cls: type, name: str, annotation: object) -> SchemaError:
    if isinstance(annotation, ForwardRef):
        text = annotation.__forward_arg__
        hint = did_you_mean(text, ("Col", "Key", "Indexed", "Rel", "ExpiresAt", "ClassVar"))
        return schema_error(f"unknown name {text}{hint}", cls, name)
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return schema_error(f"a column is written Col[{shown}], Indexed[…] or Key[…]", cls, name)


def _evaluated(cls: type, name: str, text: str, names: _Names) -> object:
    try:
        return eval(text, names.module, names)
    except SyntaxError as error:
        raise schema_error(f"{text!r} is no type: {error.msg}", cls, name) from None
    except (NameError, AttributeError, TypeError) as error:
        raise schema_error(f"{text!r} is no type: {error}", cls, name) from None


class _Names(Mapping[str, object]):
    """The names that an annotation may use.

    A name that does not exist yet stands for itself, so that a class may name itself
    and classes that come later; it is looked up again when the schema is made.
    """

    def __init__(self, cls: type, local_names: Mapping[str, object]) -> None:
        self.module = vars(sys.modules.get(cls.__module__, types))
        self._known = {**local_names, cls.__name__: cls}
        self._builtins = vars(sys.modules["builtins"])

    def __getitem__(self, name: str) -> object:
        if name in self._known:
            return self._known[name]
        if name in self.module or name in self._builtins:
            raise KeyError(name)
        return ForwardRef(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
