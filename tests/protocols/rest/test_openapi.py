"""The OpenAPI document: valid, complete for each table, and for super users only."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import fields
from openapi_spec_validator import validate

from lyredb.operations.broker_requests import ClientEntry, ClientList, Kicked, RetainedEntry
from lyredb.plugins.settings import SettingValue
from lyredb.protocols.rest.openapi.document import document
from lyredb.protocols.rest.openapi.offered import api_of_schema
from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.tables.schema import Schema
from lyredb.tables.sdl import parse_sdl
from tests.protocols.node import serving

SDL = '''
"""Who makes things."""
type Brand @table @export {
  id: ID @primaryKey
  name: String
  products: [Product] @relationship(to: "brandId")
}
type Address { street: String!  city: String }
type Product @table @export @sealed {
  id: ID @primaryKey
  """What people call it."""
  name: String!
  price: Float @indexed
  brandId: ID @indexed
  brand: Brand @relationship(from: "brandId")
  cents: Float @computed(from: "price * 100")
  tags: [String!]
  where: Address
  size: Int
  huge: BigInt
  day: Date
  raw: Bytes
  any: Any
  made: Float @createdTime
  changed: Date @updatedTime
}
type Counter @table @export(name: "plant/Counter") { id: Int @primaryKey  n: Int }
type Quiet @table @export(rest: false) { id: ID @primaryKey }
type Inner @table { id: ID @primaryKey }
type Log @table(database: "logs") @export { id: ID @primaryKey }
'''


def made(sdl: str = SDL) -> Any:
    return document(api_of_schema(parse_sdl(sdl), version="1", title="test"))


def schema(name: str) -> Any:
    return made()["components"]["schemas"][name]


def test_document_is_valid_openapi() -> None:
    """By the validator of the specification, with nothing but the standard's version."""
    found = made()
    validate(found)
    assert found["openapi"] == "3.0.3"


def test_document_has_the_paths_of_what_rest_offers_and_no_other() -> None:
    paths = set(made()["paths"])
    tables = {path.split("/{")[0].rstrip("/") for path in paths}
    assert tables == {
        *("/Brand", "/Product", "/plant/Counter", "/Log"),
        *("/health", "/openapi", "/$session", "/$token", "/$clients", "/$retained"),
    }
    assert {path for path in paths if path.startswith("/Product")} == {
        *("/Product", "/Product/", "/Product/{prefix}/"),
        *("/Product/{id}", "/Product/{id}.{property}"),
    }


def test_methods_are_those_that_options_tells() -> None:
    """The document and ``Allow`` cannot part: both are asked here for each kind of path."""
    written = {"x-query": "QUERY"}

    async def body() -> None:
        async with serving(RestPlugin(), schema=SDL) as node:
            for path, item in made()["paths"].items():
                if not path.startswith("/Product"):
                    continue
                asked = path.replace("{id}", "a").replace("{prefix}", "p")
                reply = await node.call("OPTIONS", asked.replace("{property}", "price"))
                told = {written.get(one, one.upper()) for one in item if one != "parameters"}
                assert set(reply.headers["allow"].split(", ")) == told, path

    asyncio.run(body())


def test_a_writer_brings_what_is_required_and_a_reader_is_sure_of_the_key_only() -> None:
    assert schema("Product")["required"] == ["id"]
    assert schema("Product.Input")["required"] == ["name"]
    assert "required" not in schema("Product.Patch")
    assert schema("Product.Address")["required"] == ["street"]


def test_a_sealed_type_has_no_additional_properties() -> None:
    for use in ("", ".Input", ".Patch"):
        assert schema(f"Product{use}")["additionalProperties"] is False
        assert schema(f"Brand{use}")["additionalProperties"] is True


def test_what_a_client_cannot_set_is_not_in_what_it_sends() -> None:
    read, written = schema("Product")["properties"], schema("Product.Input")["properties"]
    assert {"brand", "cents"} <= set(read)
    assert not {"brand", "cents"} & set(written)
    assert read["brand"]["allOf"] == [{"$ref": "#/components/schemas/Brand"}]
    assert written["made"]["readOnly"] is read["made"]["readOnly"] is True


def test_types_are_those_of_the_schema() -> None:
    read = schema("Product")["properties"]
    assert read["name"] == {"type": "string", "description": "What people call it."}
    assert read["price"]["nullable"] is True
    assert read["tags"]["items"] == {"type": "string"}
    assert read["size"]["maximum"] == 2**31 - 1
    assert read["where"]["allOf"] == [{"$ref": "#/components/schemas/Product.Address"}]
    assert schema("Brand")["description"] == "Who makes things."
    assert schema("Brand")["properties"]["products"]["items"]["$ref"].endswith("/Product")


def test_numbers_can_be_added_to_by_a_patch() -> None:
    increment = {"$ref": "#/components/schemas/Increment"}
    patch = schema("Product.Patch")["properties"]
    assert increment in patch["price"]["anyOf"]
    assert "anyOf" not in patch["name"]


def test_attributes_are_parameters_of_a_collection() -> None:
    parameters = made()["paths"]["/Product/"]["get"]["parameters"]
    by_name = {one["name"]: one for one in parameters if "name" in one}
    assert by_name["size"]["schema"]["type"] == "integer"
    assert by_name["tags"]["schema"]["type"] == "string"
    assert not {"brand", "where", "raw"} & set(by_name)


STREAMS = ("StartTime", "PreviousCount", "OmitCurrent")


@pytest.mark.parametrize("path", ["/Product/", "/Product/{prefix}/", "/Product/{id}"])
def test_what_a_stream_begins_with_is_said_where_there_are_streams(path: str) -> None:
    """HEAD has none, and nothing is written by a stream."""
    item = made()["paths"][path]
    streams = [{"$ref": f"#/components/parameters/{name}"} for name in STREAMS]
    assert item["get"]["parameters"][-3:] == streams
    assert "text/event-stream" in item["get"]["responses"]["200"]["content"]
    for method in ("head", "delete", "put"):
        assert streams[0] not in item.get(method, {}).get("parameters", [])
        assert "text/event-stream" not in str(item.get(method, {}))


def test_an_attribute_takes_the_place_of_a_streams_parameter() -> None:
    """A name stands once among the parameters of an operation."""
    sdl = "type Shift @table @export { id: ID @primaryKey  startTime: Int }"
    told = made(sdl)["paths"]["/Shift/"]["get"]["parameters"]
    assert [one.get("name", one.get("$ref")) for one in told] == [
        *("id", "startTime"),
        *(f"#/components/parameters/{name}" for name in STREAMS[1:]),
    ]


def test_what_operators_are_told_is_what_is_described() -> None:
    """The entries are made elsewhere; a field that is new there has to be described."""
    for name, kind in (("Client", ClientEntry), ("Clients", ClientList)):
        assert list(schema(name)["properties"]) == [one.encode_name for one in fields(kind)]
    retained = schema("Retained")["properties"]["messages"]["items"]["properties"]
    assert list(retained) == [one.encode_name for one in fields(RetainedEntry)]
    assert list(schema("ClientEnded")["properties"]) == [one.encode_name for one in fields(Kicked)]


def test_every_operation_has_an_id_of_its_own_and_the_errors_of_every_request() -> None:
    seen = []
    for item in made()["paths"].values():
        for method, operation in item.items():
            if method == "parameters":
                continue
            seen.append(operation["operationId"])
            assert {"400", "408", "413", "431", "503"} <= set(operation["responses"])
    assert len(seen) == len(set(seen))


def test_two_databases_may_have_a_table_of_one_name() -> None:
    sdl = """
    type Log @table @export { id: ID @primaryKey  a: Int }
    """
    other = 'type Log @table(database: "logs") @export(name: "other") { id: ID @primaryKey }'
    tables = (*parse_sdl(sdl).tables, *parse_sdl(other).tables)
    found: Any = document(api_of_schema(Schema.of(tables), version="1", title="t"))
    assert {"Log", "logs.Log"} <= set(found["components"]["schemas"])


def test_only_super_users_get_the_document_in_json_or_yaml() -> None:
    async def body() -> None:
        async with serving(RestPlugin(), schema=SDL) as node:
            got = await node.call("GET", "/openapi")
            assert (got.status, got.headers["content-type"]) == (200, "application/json")
            found = json.loads(got.body)
            validate(found)
            assert "/Product/{id}" in found["paths"]
            assert "/$session" not in found["paths"], "this port has no sessions"
            yaml = await node.call("GET", "/openapi", head=b"accept: text/yaml\r\n")
            assert yaml.body.startswith(b"openapi:")
            assert (await node.call("HEAD", "/openapi")).body == b""
            for method, login, head, status in (
                ("GET", False, b"", 401),
                ("GET", True, b"accept: text/csv\r\n", 406),
                ("PUT", True, b"", 405),
            ):
                options = {} if login else {"login": b""}
                reply = await node.call(method, "/openapi", head=head, **options)
                assert reply.status == status, (method, reply.body)

    asyncio.run(body())


def test_document_tells_what_settings_change() -> None:
    """Dates, counts, and the preflights of pages that may ask."""
    changed: dict[str, SettingValue] = {
        "rest.lastModified": True,
        "rest.includeExpensiveRecordCountEstimates": True,
        "http.corsAccessList": "https://app.example.com",
    }

    async def body() -> None:
        for is_on in (False, True):
            settings = changed if is_on else {}
            async with serving(RestPlugin(), schema=SDL, settings=settings) as node:
                found = json.loads((await node.call("GET", "/openapi")).body)
                record = found["paths"]["/Brand/{id}"]
                described = found["components"]["schemas"]["TableDescription"]["properties"]
                assert ("Last-Modified" in record["get"]["responses"]["200"]["headers"]) == is_on
                assert ("recordCount" in described) == is_on
                assert ("200" in record["options"]["responses"]) == is_on

    asyncio.run(body())


def test_a_blob_is_described_as_any_bytes_in_parts() -> None:
    """What its path gives and takes is of no format; its record shows text or an object."""
    sdl = "type Photo @table @export { id: ID @primaryKey picture: Blob }"
    found = made(sdl)
    validate(found)
    get = found["paths"]["/Photo/{id}.{property}"]["get"]
    assert {"200", "206", "304", "416"} <= get["responses"].keys()
    assert "*/*" in get["responses"]["200"]["content"]
    kinds = found["components"]["schemas"]["Photo"]["properties"]["picture"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["string", "object"]
