"""Files of the web folder, and the health."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.protocols.http.harness import running


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>hello</h1>")
    (folder / "sub" / "index.html").write_text("sub")
    (folder / "app.js").write_text("let a")
    (folder / "big.bin").write_bytes(bytes(range(256)) * 12_000)
    (folder / ".hidden").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def test_files_have_their_types_and_folders_their_index(web: Path) -> None:
    async def body() -> None:
        async with running(web=web) as port:
            for path, content, kind in (
                ("/", b"<h1>hello</h1>", "text/html; charset=utf-8"),
                ("/index.html", b"<h1>hello</h1>", "text/html; charset=utf-8"),
                ("/sub/", b"sub", "text/html; charset=utf-8"),
                ("/app.js", b"let a", "text/javascript; charset=utf-8"),
            ):
                reply = await port.ask("GET", path)
                assert (reply.status, reply.body) == (200, content), path
                assert reply.headers["content-type"] == kind
            folder = await port.ask("GET", "/sub")
            assert (folder.status, folder.headers["location"]) == (308, "sub/")

    asyncio.run(body())


def test_file_that_the_client_has_is_304(web: Path) -> None:
    async def body() -> None:
        async with running(web=web) as port:
            first = await port.ask("GET", "/app.js")
            for name, value in (
                ("if-none-match", first.headers["etag"]),
                ("if-none-match", f'"x", W/{first.headers["etag"]}'),
                ("if-modified-since", first.headers["last-modified"]),
            ):
                reply = await port.ask("GET", "/app.js", f"{name}: {value}\r\n".encode())
                assert (reply.status, reply.body) == (304, b""), (name, value)
            (web / "app.js").write_text("let b = 2")
            head = f"if-none-match: {first.headers['etag']}\r\n".encode()
            assert (await port.ask("GET", "/app.js", head)).body == b"let b = 2"

    asyncio.run(body())


def test_nothing_outside_of_the_folder_is_served(web: Path) -> None:
    async def body() -> None:
        async with running(web=web) as port:
            for path in (
                "/../secret.txt",
                "/%2e%2e/secret.txt",
                "/sub/../../secret.txt",
                "/..%2fsecret.txt",
                "//etc/passwd",
                "/link.txt",
                "/.hidden",
                "/sub/..%5c..%5csecret.txt",
                "/app.js%00.html",
                "/app.js/",
                "/none.html",
            ):
                assert (await port.ask("GET", path)).status == 404, path

    asyncio.run(body())


def test_large_file_is_streamed_whole(web: Path) -> None:
    async def body() -> None:
        async with running(web=web) as port:
            reply = await port.ask("GET", "/big.bin")
            assert reply.headers["transfer-encoding"] == "chunked"
            assert reply.body == (web / "big.bin").read_bytes()

    asyncio.run(body())


def test_files_can_only_be_read(web: Path) -> None:
    async def body() -> None:
        async with running(web=web) as port:
            head = await port.ask("HEAD", "/app.js")
            assert (head.status, head.headers["content-length"]) == (200, "5")
            put = await port.ask("PUT", "/app.js", body=b"x")
            assert (put.status, put.headers["allow"]) == (405, "GET, HEAD")

    asyncio.run(body())


def test_health_without_space_is_degraded_and_still_200() -> None:
    """A load balancer that stopped asking would take reads away that work."""
    problem, lack = "", "disk full"

    async def body() -> None:
        nonlocal problem, lack
        async with running(health=lambda: problem, lack=lambda: lack) as port:
            reply = await port.ask("GET", "/health")
            expected = {"status": "degraded", "reason": "disk full"}
            assert (reply.status, json.loads(reply.body)) == (200, expected)
            problem = "the disk is broken"
            assert (await port.ask("GET", "/health")).status == 503
            problem = lack = ""
            assert json.loads((await port.ask("GET", "/health")).body) == {"status": "ok"}

    asyncio.run(body())


def test_health_says_ok_or_what_is_wrong() -> None:
    problem = ""

    async def body() -> None:
        nonlocal problem
        async with running(health=lambda: problem) as port:
            reply = await port.ask("GET", "/health")
            assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})
            problem = "the disk is broken"
            failed = await port.ask("GET", "/health")
            assert failed.status == 503
            assert json.loads(failed.body)["detail"] == "the disk is broken"
            problem = ""
            port.server.stopping = True
            assert (await port.ask("GET", "/health")).status == 503
            assert (await port.ask("POST", "/health")).status == 405

    asyncio.run(body())
