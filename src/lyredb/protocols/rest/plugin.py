"""The plugin: mounts REST on the HTTP port, below files for open topics, above for tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import TypeAlias

from lyredb.plugins.scope import Address, Scope
from lyredb.plugins.settings import Setting
from lyredb.protocols.http.authentication import Authentication, authentication_of
from lyredb.protocols.rest.dispatch import Rest
from lyredb.protocols.rest.openapi.api import Api
from lyredb.protocols.rest.openapi.offered import api_of_server
from lyredb.protocols.rest.openapi.serving import PATH, PRIORITY, OpenApi
from lyredb.protocols.rest.operators import CLIENTS, RETAINED, Operators
from lyredb.protocols.rest.operators import PRIORITY as OPERATORS_PRIORITY
from lyredb.protocols.rest.service import RestOptions, Service
from lyredb.protocols.rest.settings import REST_SETTINGS
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator

RestScope: TypeAlias = Scope[Database, Authenticator]

_OPEN_TOPICS_PRIORITY = -20
"""Below files: a web page must not vanish because every path may be a topic."""


class RestPlugin:
    """REST (a `lyredb.plugins.scope.ProtocolPlugin`)."""

    name = "rest"
    settings: Sequence[Setting] = REST_SETTINGS

    def prepare(self, scope: RestScope) -> None:
        """Mount."""
        login = authentication_of(scope.http)
        service = Service(scope.resources, RestOptions.of(scope.settings))
        rest = Rest(service, login)
        described = OpenApi(partial(_api, scope, service, login), login)
        operators = Operators(scope.calls, login)
        scope.http.mount(
            "openapi", described.wants, described.answer, priority=PRIORITY, roots=(PATH,)
        )
        scope.http.mount(
            "operators",
            operators.wants,
            operators.answer,
            priority=OPERATORS_PRIORITY,
            roots=(CLIENTS, RETAINED),
        )
        scope.http.mount(
            "rest", rest.wants_table, rest.answer, now=rest.now, body_limit=rest.body_limit
        )
        scope.http.mount(
            "rest open topics",
            rest.wants_open_topic,
            rest.answer,
            priority=_OPEN_TOPICS_PRIORITY,
            now=rest.now,
        )

    async def start(self) -> Sequence[Address]:
        """Nothing: the HTTP port listens."""
        return ()

    async def stop(self, deadline_s: float) -> None:
        """Nothing: the HTTP port finishes answers in flight."""


def _api(scope: RestScope, service: Service, login: Authentication) -> Api:
    return api_of_server(
        scope.resources.registry,
        service.options,
        version=version("lyredb"),
        sessions=login.sessions is not None,
        tokens=login.tokens is not None,
    )
