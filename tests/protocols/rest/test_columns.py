"""REST: what the header of CSV tells to whom."""

from __future__ import annotations

from lyredb.security.rights import read_role
from tests.protocols.http.test_logins import Place, basic, run

CSV = b"accept: text/csv\r\n"


def test_the_header_of_csv_names_only_what_may_be_read() -> None:
    """As the table's description does, also where a star stands for all."""

    async def body(at: Place) -> None:
        assert (await at.call("PUT", "/Sensor/a", basic("root"), b'{"v": 1}')).status == 204
        rights = {"read": True, "attributes": {"id": {"read": True}}}
        await at.node.roles.put(read_role("reader", {"data": {"Sensor": rights}}))
        for query in ("", "?select(*)", "?id=a"):
            reply = await at.call("GET", "/Sensor/" + query, basic("eve") + CSV)
            assert reply.body == b"id\r\na\r\n", query
        full = await at.call("GET", "/Sensor/", basic("root") + CSV)
        assert full.body == b"id,v\r\na,1\r\n"

    run(body)
