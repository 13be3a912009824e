"""Puts together what a server says when it is ready, of what it serves and where."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lyredb.plugins.scope import Address
from lyredb.security.first_admin import FirstAdmin
from lyredb.server.core_settings import has_open_topics
from lyredb.server.launch import Launch
from lyredb.server.ready import Ready
from lyredb.server.sample import sample_of
from lyredb.server.version import version


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens.

    Attributes:
        http: The HTTP port.
        operations: The operations port.
        listeners: The addresses of each plugin that has its own, by name.
    """

    http: Address
    operations: Address
    listeners: Mapping[str, Sequence[Address]]


def ready_of(launch: Launch, ports: Ports, admin: FirstAdmin | None) -> Ready:
    """Return what this process, which was started as the server, says.

    Args:
        launch: What it serves.
        ports: Where.
        admin: The administrator that was made at this start.
    """
    schema = launch.application.schema
    exports = (table.export for table in schema.tables)
    return Ready(
        version=version(),
        pid=os.getpid(),
        http=ports.http,
        operations=ports.operations,
        listeners=ports.listeners,
        application=launch.application.name,
        tables=tuple(export.path for export in exports if export is not None),
        data_dir=launch.data_dir,
        local=launch.authorize_local,
        admin="" if admin is None else admin.name,
        password_file=None if admin is None else admin.password_file,
        has_page=launch.application.web is not None or launch.authorize_local,
        sample=sample_of(schema, open_topics=has_open_topics(launch.settings, schema)),
        workers=launch.workers,
    )
