"""What every operation has in common, and those that every path has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lyredb.protocols.rest.openapi.api import Json
from lyredb.protocols.rest.openapi.responses import errors, header

CONNECTION: Final = (400, 408, 413, 431, 503)
"""What every request may be answered with, whatever it asks for."""
LOGIN: Final = (401, 403, 429)
"""What a request that needs rights may be answered with besides."""


@dataclass(frozen=True, slots=True)
class Describes:
    """Makes the operations of one path.

    Attributes:
        name: Of the path, unique in the document; it begins the ids of operations.
        tag: Groups operations for people.
        statuses: Of errors that all operations on the path may be answered with.
        cors: Pages of some other origins may read answers, so browsers ask before.
    """

    name: str
    tag: str
    statuses: tuple[int, ...] = ()
    cors: bool = False

    def operation(
        self,
        method: str,
        summary: str,
        answers: dict[str, Json],
        *statuses: int,
        parameters: Sequence[Json] = (),
        body: Json | None = None,
        needs_login: bool = True,
        description: str = "",
    ) -> Json:
        """One operation.

        Args:
            method: In lower case.
            summary: A few words.
            answers: Success, by status.
            statuses: Of errors, besides those of the path and of every request.
            parameters: Besides those of the path.
            body: Of the request.
            needs_login: Somebody has to have a right.
            description: The rest that people want to know.
        """
        found: Json = {
            "operationId": f"{self.name}.{method}",
            "tags": [self.tag],
            "summary": summary,
        }
        if description:
            found["description"] = description
        if parameters:
            found["parameters"] = list(parameters)
        if body is not None:
            found["requestBody"] = body
        login = LOGIN if needs_login else ()
        all_errors = {*CONNECTION, *self.statuses, *login, *statuses}
        found["responses"] = dict(sorted((answers | errors(*all_errors)).items()))
        if not needs_login:
            found["security"] = []
        return found

    def with_head(self, get: Json) -> dict[str, Json]:
        """GET, and HEAD as the same without a body."""
        head = {
            **get,
            "operationId": f"{self.name}.head",
            "summary": f"{get['summary']}: headers only",
        }
        return {"get": get, "head": head}

    def always(self, allowed: Sequence[str]) -> dict[str, Json]:
        """OPTIONS and TRACE."""
        options: Json = {
            "description": f"The methods: {', '.join(allowed)}.",
            "headers": header("Allow", "Allow"),
        }
        trace: Json = {
            "description": "The request as it came, without what could be a secret.",
            "content": {"message/http": {"schema": {"type": "string"}}},
        }
        answers: dict[str, Json] = {"204": options}
        if self.cors:
            answers["200"] = {"description": "A preflight (CORS) of a page that may ask."}
        return {
            "options": self.operation("options", "What is possible", answers, needs_login=False),
            "trace": self.operation("trace", "What arrives", {"200": trace}, needs_login=False),
        }
