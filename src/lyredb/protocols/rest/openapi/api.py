"""What a document is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lyredb.tables.schema import TableSchema

Json = dict[str, object]
"""A part of a document."""


@dataclass(frozen=True, slots=True)
class ApiTable:
    """A table that REST offers.

    Attributes:
        path: Where, without slashes at the ends.
        schema: What it was declared as.
    """

    path: str
    schema: TableSchema


@dataclass(frozen=True, slots=True)
class Api:
    """A server's interface.

    Attributes:
        version: Of the server.
        tables: That are offered, in the order of the document.
        schemas: All tables by full name, for relations.
        title: Of the document.
        sessions: Browsers can log in at ``/$session``.
        tokens: Programs can get tokens at ``/$token``.
        last_modified: Dates are told and heeded.
        counts: Descriptions of tables tell how many records there are.
        cors: Pages of some other origins may read answers.
    """

    version: str
    tables: Sequence[ApiTable]
    schemas: Mapping[str, TableSchema] = field(default_factory=dict)
    title: str = "LyreDB"
    sessions: bool = True
    tokens: bool = True
    last_modified: bool = False
    counts: bool = False
    cors: bool = False


def reference(kind: str, name: str) -> Json:
    """A reference to a component: ``reference("schemas", "Sensor")``."""
    return {"$ref": f"#/components/{kind}/{name}"}
