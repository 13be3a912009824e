"""What a server or an application offers, for the document."""

from __future__ import annotations

from collections.abc import Iterable

from lyredb.protocols.rest.openapi.api import Api, ApiTable
from lyredb.protocols.rest.service import PROTOCOL, RestOptions
from lyredb.resources.registry import Registry
from lyredb.tables.schema import Schema, TableSchema


def api_of_server(
    registry: Registry, options: RestOptions, *, version: str, sessions: bool, tokens: bool
) -> Api:
    """Return what a running server offers."""
    roots = [ApiTable(root.path, root.table.schema) for root in registry.roots(PROTOCOL)]
    return Api(
        version=version,
        tables=_sorted(roots),
        schemas={table.name: table.schema for table in registry.tables.values()},
        sessions=sessions,
        tokens=tokens,
        last_modified=options.last_modified,
        counts=options.counts,
        cors=options.cors,
    )


def api_of_schema(schema: Schema, *, version: str, title: str) -> Api:
    """Return what an application offers where nothing is set otherwise."""
    return Api(
        version=version,
        tables=_sorted(_exported(schema.tables)),
        schemas={table.full_name: table for table in schema.tables},
        title=title,
    )


def _exported(tables: Iterable[TableSchema]) -> list[ApiTable]:
    return [
        ApiTable(table.export.path, table)
        for table in tables
        if table.export is not None and table.export.rest
    ]


def _sorted(tables: Iterable[ApiTable]) -> list[ApiTable]:
    return sorted(tables, key=lambda one: one.path)
