"""What a schema says, whether it was written as SDL or as classes: frozen values.

Equal declarations make equal values; what the two notations can say differently but
mean the same is made equal here, by `TableSchema.of`: a key and a time that the server
sets are never marked as required, a key is not indexed besides, an attribute ``id`` is
the key when none is declared, and server-set times come last, as they do in records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from lyredb.errors import SchemaError

Where = Callable[[str, str], str]
"""``where(table, attribute)``; the attribute is ``""`` for the table itself."""
Role = Literal["plain", "primary key", "created", "updated", "expires"]

SCALARS: Final = (
    "ID",
    "String",
    "Int",
    "Long",
    "Float",
    "BigInt",
    "Boolean",
    "Date",
    "Bytes",
    "Blob",
    "Any",
)  # fmt: skip
KEY_TYPES: Final = ("ID", "String", "Int", "Long", "BigInt", "Any")
"""What a key can be; `Any` also stands for a key that is not declared."""
TIME_TYPES: Final = ("Date", "Float", "Long")
"""What a time that the server sets can be: a date, or epoch milliseconds."""
SYSTEM_DATABASE: Final = "system"
"""Of the server's own tables: they are no topics, so nobody's message is a record there."""
RESERVED_ROOTS: Final = ("health", "metrics", "openapi")
"""First segments of paths that belong to the server."""
_PLACES: Final[dict[Role, int]] = {
    "primary key": 0,
    "plain": 0,
    "expires": 0,
    "created": 1,
    "updated": 2,
}
DEFAULT_KEY: Final = "id"
DEFAULT_DATABASE: Final = "data"


@dataclass(frozen=True, slots=True)
class TypeRef:
    """The type of an attribute: a scalar, a nested type or a list.

    Attributes:
        name: Of a scalar (one of `SCALARS`) or of a nested type; ``""`` for a list.
        element: Of a list: the type of its elements, else ``None``.
        required: Neither absent nor null (SDL ``!``).
    """

    name: str
    element: TypeRef | None = None
    required: bool = False

    @property
    def innermost(self) -> str:
        """The name of the scalar or nested type inside all lists."""
        return self.name if self.element is None else self.element.innermost

    @property
    def optional(self) -> TypeRef:
        """The same type, not required."""
        return replace(self, required=False)

    def __str__(self) -> str:
        """The type as SDL writes it: ``[Float!]``."""
        inner = self.name if self.element is None else f"[{self.element}]"
        return f"{inner}!" if self.required else inner


@dataclass(frozen=True, slots=True)
class Relation:
    """Where the records are that a virtual attribute stands for.

    ``here`` of this table's record is compared with ``there`` of the target's. ``""`` is
    the primary key of its side. Either attribute may hold a list: each element counts.

    Attributes:
        target: Full name of the related table, ``"<database>.<table>"``.
        here: Attribute of this table (``from``), ``""`` for its key.
        there: Attribute of the related table (``to``), ``""`` for its key.
        many: The value is a list of records, not one record.
    """

    target: str
    here: str = ""
    there: str = ""
    many: bool = False

    @property
    def type(self) -> TypeRef:
        """What its attribute holds, as far as this table can tell."""
        return TypeRef("", TypeRef("Any")) if self.many else TypeRef("Any")


@dataclass(frozen=True, slots=True)
class Computed:
    """How a virtual attribute is made from the record.

    Attributes:
        expression: See `lyredb.storage.expression`; ``""``: code registers a function.
        version: Another one makes an index of it be built anew; the expression's text
            when none is declared.
    """

    expression: str
    version: str = ""

    @classmethod
    def of(cls, expression: str = "", version: object = "") -> Computed:
        """Return it in its one form: the text as a version is the same as none."""
        expression = expression.strip()
        return cls(expression, "" if str(version) == expression else str(version))


@dataclass(frozen=True, slots=True)
class Attribute:
    """A declared attribute of a table or nested type.

    Attributes:
        name: As in records.
        type: What values it takes; of a relation ``Any`` (a list of it when many).
        role: ``primary key``; ``created`` and ``updated`` are set by the server;
            ``expires`` holds the time at which the record is gone.
        indexed: Has an index of its own.
        description: For people, ``""`` for none.
        relation: It stands for records of another table, and is not stored.
        computed: It is made from other attributes, and is not stored.
        enumerable: A virtual attribute that is part of whole records.
        roles: The roles that may use it; empty: whoever may use the table.
        hidden: Left out of documents that describe the interface. It can be used as others.
    """

    name: str
    type: TypeRef
    role: Role = "plain"
    indexed: bool = False
    description: str = ""
    relation: Relation | None = None
    computed: Computed | None = None
    enumerable: bool = False
    roles: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def is_virtual(self) -> bool:
        """It is not stored: a relation or computed."""
        return self.relation is not None or self.computed is not None

    @property
    def is_stored(self) -> bool:
        """It stands in the body of a record: neither virtual, nor the key, nor server-set."""
        return self.role in ("plain", "expires") and not self.is_virtual

    @property
    def required(self) -> bool:
        """A record must have it, not null."""
        return self.type.required

    def describe(self) -> dict[str, object]:
        """Return what a description of the table says of it."""
        described: dict[str, object] = {
            "name": self.name,
            "type": str(self.type.optional),
            "required": self.required,
            "indexed": self.indexed,
        }
        if self.role != "plain":
            described["role"] = self.role
        if self.relation is not None:
            relation = self.relation
            described["relationship"] = {
                "table": relation.target,
                **({"from": relation.here} if relation.here else {}),
                **({"to": relation.there} if relation.there else {}),
            }
        if self.computed is not None:
            described["computed"] = self.computed.expression or True
        if self.is_virtual:
            described["enumerable"] = self.enumerable
        if self.description:
            described["description"] = self.description
        return described


@dataclass(frozen=True, slots=True)
class NestedType:
    """The type of objects inside records.

    Attributes:
        name: Unique in its schema.
        attributes: In declared order.
        sealed: Refuses undeclared attributes.
        description: For people, ``""`` for none.
    """

    name: str
    attributes: tuple[Attribute, ...]
    sealed: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Export:
    """Where a table can be reached from outside, and by which protocols.

    Attributes:
        path: Segments with slashes between them: ``Sensor`` or ``plant/Sensor``.
        rest: Offered over REST.
        mqtt: Offered over MQTT.
        ws: Offered over WebSocket.
        sse: Offered as Server-Sent Events.
    """

    path: str
    rest: bool = True
    mqtt: bool = True
    ws: bool = True
    sse: bool = True


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table as declared; made by `TableSchema.of`.

    Attributes:
        name: Unique in its database.
        database: ``data`` unless declared otherwise.
        attributes: In declared order, server-set times last. A key that nobody declared
            is not among them.
        primary_key: The name of the key attribute.
        sealed: Refuses undeclared attributes. Tables are open by default.
        nested: The nested types that it uses, by name; what they use included.
        export: ``None``: only code in the same process reaches it.
        expiration_s: Seconds after its last write until a record is gone, 0 for never.
        description: For people, ``""`` for none.
        eviction_s: Seconds that a record that is gone is kept besides before it is removed.
        scan_interval_s: Seconds between removals of what is gone, 0 for the default: a
            quarter of expiration and eviction together.
        split_segments: Keys with slashes are lists of their segments.
        hidden: Left out of documents that describe the interface.
    """

    name: str
    database: str = DEFAULT_DATABASE
    attributes: tuple[Attribute, ...] = ()
    primary_key: str = DEFAULT_KEY
    sealed: bool = False
    nested: tuple[NestedType, ...] = ()
    export: Export | None = None
    expiration_s: int = 0
    description: str = ""
    eviction_s: int = 0
    scan_interval_s: int = 0
    split_segments: bool = False
    hidden: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        attributes: Sequence[Attribute],
        *,
        types: Iterable[NestedType] = (),
        database: str = DEFAULT_DATABASE,
        sealed: bool = False,
        export: Export | None = None,
        expiration_s: int = 0,
        description: str = "",
        eviction_s: int = 0,
        scan_interval_s: int = 0,
        split_segments: bool = False,
        hidden: bool = False,
    ) -> TableSchema:
        """Return the schema of a declared table in its one form.

        Args:
            name: Of the table.
            attributes: As declared, with or without a key.
            types: The nested types of the whole schema; the table keeps what it uses.
            database: That it belongs to.
            sealed: Refuses undeclared attributes.
            export: Where it can be reached.
            expiration_s: Seconds, 0 for never.
            description: For people.
            eviction_s: Seconds.
            scan_interval_s: Seconds, 0 for the default.
            split_segments: Keys with slashes are lists.
            hidden: Left out of documents that describe the interface.

        Raises:
            SchemaError: The declaration makes no sense. Without file and line: whoever
                knows them checks first (`checks`), or adds them.
        """
        normal = [_normal(attribute) for attribute in with_key(attributes)]
        declared = tuple(sorted(normal, key=lambda one: _PLACES[one.role]))
        keys = [attribute.name for attribute in declared if attribute.role == "primary key"]
        return cls(
            name=name,
            database=database,
            attributes=declared,
            primary_key=keys[0] if keys else DEFAULT_KEY,
            sealed=sealed,
            nested=used_types(declared, types),
            export=export,
            expiration_s=expiration_s,
            description=description,
            eviction_s=eviction_s,
            scan_interval_s=scan_interval_s,
            split_segments=split_segments,
            hidden=hidden,
        )

    @property
    def full_name(self) -> str:
        """``<database>.<table>``, unique on a node."""
        return f"{self.database}.{self.name}"

    @property
    def key_type(self) -> str:
        """The scalar of the key: one of `KEY_TYPES`."""
        key = self.attribute(self.primary_key)
        return key.type.name if key else "Any"

    @property
    def has_deadlines(self) -> bool:
        """Its records can be gone at some time."""
        return bool(self.expiration_s) or any(one.role == "expires" for one in self.attributes)

    def attribute(self, name: str) -> Attribute | None:
        """Return the declared attribute of this name."""
        return next((one for one in self.attributes if one.name == name), None)

    def has_attribute(self, name: str) -> bool:
        """Tell whether the attribute is declared; the key always is."""
        return name == self.primary_key or self.attribute(name) is not None

    def nested_type(self, name: str) -> NestedType:
        """Return the nested type of this name.

        Raises:
            KeyError: No attribute of the table has it.
        """
        for nested in self.nested:
            if nested.name == name:
                return nested
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Schema:
    """All declared tables, in declared order. Make it by `Schema.of`.

    Attributes:
        tables: In declared order.
        where: Where in the source a table, by full name, or one of its attributes stands
            (``plant.graphql:3:2``); ``""`` when that is not known.
    """

    tables: tuple[TableSchema, ...] = ()
    where: Where = field(default=lambda table, attribute: "", compare=False, repr=False)

    @classmethod
    def of(cls, tables: Iterable[TableSchema], *, where: Where | None = None) -> Schema:
        """Return a schema.

        Args:
            tables: In declared order.
            where: Only asked to explain an error.

        Raises:
            SchemaError: Two tables have the same name in the same database, or are
                exported under the same path.
        """
        schema = cls(tuple(tables), where) if where else cls(tuple(tables))
        _refuse_double((table.full_name for table in schema.tables), "table {} is declared twice")
        _refuse_double(
            (table.export.path for table in schema.tables if table.export),
            "two tables are exported as {!r}",
        )
        return schema

    def table(self, full_name: str) -> TableSchema | None:
        """Return the table ``<database>.<table>``."""
        return next((table for table in self.tables if table.full_name == full_name), None)


def used_types(
    attributes: Iterable[Attribute], types: Iterable[NestedType]
) -> tuple[NestedType, ...]:
    """Return the nested types that attributes use, directly or not, sorted by name."""
    by_name = {nested.name: nested for nested in types}
    found: dict[str, NestedType] = {}
    waiting = list(attributes)
    while waiting:
        nested = by_name.get(waiting.pop().type.innermost)
        if nested is not None and nested.name not in found:
            found[nested.name] = nested
            waiting += nested.attributes
    return tuple(found[name] for name in sorted(found))


def with_key(attributes: Sequence[Attribute]) -> Iterable[Attribute]:
    """Return the attributes of a table; ``id`` as the key when none is declared as such."""
    if any(attribute.role == "primary key" for attribute in attributes):
        return attributes
    return (
        replace(one, role="primary key") if one.name == DEFAULT_KEY and one.role == "plain" else one
        for one in attributes
    )


def _normal(attribute: Attribute) -> Attribute:
    if attribute.role in ("plain", "expires"):
        return attribute
    indexed = attribute.indexed and attribute.role != "primary key"
    return replace(attribute, type=attribute.type.optional, indexed=indexed)


def _refuse_double(names: Iterable[str], sentence: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SchemaError(sentence.format(name))
        seen.add(name)
