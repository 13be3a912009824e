"""What a cell of CSV becomes."""

from __future__ import annotations

import pytest

from lyredb.operations.transfer.cells import cell_of
from lyredb.tables.sdl import parse_sdl

PHOTO = parse_sdl("type Photo @table { id: ID @primaryKey picture: Blob }").tables[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ('{"a": 1}', '{"a": 1}'),
        ('{"contentType": broken', '{"contentType": broken'),
        ('{"contentType":"image/png","data":"iQ=="}', {"contentType": "image/png", "data": "iQ=="}),
    ],
)
def test_a_blob_in_a_cell_is_text_or_what_an_export_shows(text: str, value: object) -> None:
    """Content of another type than text would else become the text of its JSON."""
    assert cell_of(PHOTO, "picture")(text) == value
