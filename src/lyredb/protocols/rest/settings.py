"""The rows of REST in the settings table. What all of the port heeds stands with the port's."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import Setting

REST_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "rest.lastModified",
        False,
        "flag",
        "Send `Last-Modified` with records, also with the 404 of one that was deleted, and heed "
        "`If-Modified-Since`. Off: `ETag` is exact, a date with whole seconds is not, and each "
        "answer would be 46 bytes longer.",
    ),
    Setting(
        "rest.includeExpensiveRecordCountEstimates",
        False,
        "flag",
        "Let descriptions of tables tell `recordCount` and `estimatedRecordRange`. Off, as how "
        "much somebody has is not what everybody who may use a table needs to know.",
    ),
)
