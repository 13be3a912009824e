"""What the README shows of the database works as it stands there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import lyredb
from lyredb.tables.query.parse_url import parse_query

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_query_of_the_readme_finds_by_the_schema_above_it(tmp_path: Path) -> None:
    """Of two readings, the one that its conditions ask for."""
    schema, path = (
        re.search(pattern, README, re.DOTALL)
        for pattern in (r"```graphql\n(.*?)```", r"GET /Reading/\?([^\n]*)")
    )
    assert schema is not None
    assert path is not None

    async def body() -> list[object]:
        async with lyredb.open(tmp_path, schema=schema[1]) as db:
            await db.tables["Site"].put("s", {"name": "Hill", "region": "north"})
            await db.tables["Reading"].put("warm", {"siteId": "s", "celsius": 31.0})
            await db.tables["Reading"].put("cold", {"siteId": "s", "celsius": 1.0})
            return list(db.find_records("data.Reading", parse_query(path[1])))

    assert asyncio.run(body()) == [{"id": "warm", "celsius": 31.0, "site": {"name": "Hill"}}]
