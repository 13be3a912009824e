"""The record of the commands to try is one that its table takes."""

from __future__ import annotations

from pathlib import Path

import httpx

from lyredb.server.sample import Sample, sample_of
from lyredb.tables.schema import Export
from lyredb.tables.sdl import parse_sdl
from tests.server.process import Server

DEMANDING = """
type Place @sealed { name: String!  inside: [Float!]!  note: String }
type Everything @table @sealed @export {
  number: Long @primaryKey
  a: ID!  b: String!  c: Int!  d: Long!  e: BigInt!  f: Float!  g: Boolean!  h: Date!
  i: Bytes!  j: Any!  k: [Place!]!  l: String  m: Blob!  n: Long! @expiresAt
  o: Float @computed(from: "f * 2")  p: Everything @relationship(from: d)
  made: Date @createdTime
}
"""


def sample(sdl: str) -> Sample:
    found = sample_of(parse_sdl(sdl), open_topics=False)
    assert found is not None
    return found


def test_a_table_of_every_type_takes_its_sample(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "schema.graphql").write_text(DEMANDING)
    made = sample(DEMANDING)
    with Server("dev", app) as server:
        url = f"{server.http}/{made.export.path}/{made.key}"
        written = httpx.put(url, json=dict(made.record))
        assert written.is_success, written.text
        assert httpx.get(url).json()["number"] == 1


def test_what_is_not_required_is_left_out_but_for_something_to_see() -> None:
    text = "type A @table @export { id: ID @primaryKey  note: String  value: Float  more: Int }"
    assert sample(text).record == {"value": 21.5}
    assert sample(text.replace("note: String", "note: String!")).record == {"note": "hello"}
    assert sample("type A @table @export { id: ID @primaryKey }").record == {"value": 21.5}
    assert sample("type A @table @sealed @export { id: ID @primaryKey }").record == {}


def test_the_table_is_the_one_that_most_protocols_see() -> None:
    text = """
    type A @table { id: ID @primaryKey }
    type B @table @export(mqtt: false) { id: ID @primaryKey }
    type C @table @export(name: "c/d") { id: ID @primaryKey }
    type D @table @export { id: ID @primaryKey }
    """
    assert sample(text).export.path == "c/d"


def test_without_an_exported_table_it_is_an_open_topic_or_nothing() -> None:
    schema = parse_sdl("type A @table { id: ID @primaryKey }")
    assert sample_of(schema, open_topics=False) is None
    assert sample_of(schema, open_topics=True) == Sample(Export("hello"), "world", {"value": 21.5})
