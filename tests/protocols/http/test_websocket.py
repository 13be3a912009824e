"""WebSocket connections that no protocol inside has taken over: refusals."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from lyredb.errors import LoginRequired
from lyredb.protocols.http import Request
from tests.protocols.http.harness import running


async def refuse(request: Request) -> None:
    raise LoginRequired("Must login")


def test_a_refused_handshake_is_an_answer_and_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Strangers must not be able to fill the log; what they did wrong is theirs to read."""

    async def body() -> None:
        async with running(refuse) as port:
            url = f"ws://127.0.0.1:{port.server.address.port}"
            for path, status, sentence in (
                ("x", 401, b"Must login"),
                ("none", 404, b"nothing is served at this path"),
            ):
                with pytest.raises(InvalidStatus) as caught:
                    await connect(f"{url}/{path}")
                assert caught.value.response.status_code == status
                assert sentence in caught.value.response.body

    caplog.set_level("WARNING")
    asyncio.run(body())
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []
