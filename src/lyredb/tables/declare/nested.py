"""Objects inside records, as typed classes."""

from __future__ import annotations

import sys
from typing import ClassVar, Never, dataclass_transform

from lyredb.tables.declare.arguments import refuse_unknown, require_type
from lyredb.tables.declare.fields import Fields
from lyredb.tables.declare.options import field


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Nested(Fields):
    """Base of the types of nested objects: ``class Place(Nested): city: Col[str]``.

    Class arguments:
        sealed: Refuses undeclared attributes.
        name: In the schema, when it is not the class's own.
    """

    __slots__ = ()
    _lyre_nested: ClassVar[str] = ""
    _lyre_sealed: ClassVar[bool] = False

    def __init_subclass__(cls, *, sealed: bool = False, name: str = "", **unknown: Never) -> None:
        super().__init_subclass__()
        refuse_unknown(cls, unknown, ("sealed", "name"))
        require_type(cls, "sealed", sealed, bool)
        require_type(cls, "name", name, str)
        cls._lyre_nested = name or cls.__name__
        cls._lyre_sealed = sealed
        cls._lyre_declare(sys._getframe(1).f_locals, _RESERVED)


_RESERVED = frozenset(dir(Nested))
