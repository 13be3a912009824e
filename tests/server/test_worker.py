"""A worker in this process, with fake protocols beside the real HTTP port and node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from lyredb.applications.application import load_application
from lyredb.errors import DataDirectoryInUse, SettingError
from lyredb.plugins.scope import Address
from lyredb.plugins.settings import Setting
from lyredb.protocols.http.listen import bind_socket
from lyredb.server.composition import Plugin, settings_table
from lyredb.server.launch import Launch
from lyredb.server.ready import Ready
from lyredb.server.worker import Worker

PORT = Setting("fake.port", 0, "port", "The fake port.", option="--fake-port")


@dataclass
class FakePlugin:
    """Notes what is asked of it; fails or hangs when told to."""

    name: str = "fake"
    settings: Sequence[Setting] = (PORT,)
    start_error: OSError | None = None
    hang: bool = False
    calls: list[str] = field(default_factory=list)
    scope: object = None

    def prepare(self, scope: object) -> None:
        self.calls.append("prepare")
        self.scope = scope

    async def start(self) -> Sequence[Address]:
        self.calls.append("start")
        if self.start_error is not None:
            raise self.start_error
        return [Address("fake", "127.0.0.1", 7)]

    async def stop(self, deadline_s: float) -> None:
        self.calls.append("stop")
        if self.hang:
            await asyncio.Event().wait()


def launch(tmp_path: Path, *plugins: Plugin, **flags: object) -> Launch:
    (tmp_path / "app").mkdir(exist_ok=True)
    free = {"http.port": 0, "operationsApi.network.port": 0, "threads.count": 1}
    settings = settings_table(plugins).load(flags={**free, **flags})
    return Launch(
        load_application(tmp_path / "app"),
        settings,
        plugins,
        tmp_path / "data",
        authorize_local=True,
    )


def run(
    launched: Launch, body: Callable[[Ready, httpx.AsyncClient], Coroutine[None, None, None]]
) -> None:
    async def whole() -> None:
        worker = Worker(launched)
        ready = await worker.start()
        try:
            async with httpx.AsyncClient() as client:
                await body(ready, client)
        finally:
            await worker.stop()

    asyncio.run(whole())


async def assert_no_start(launched: Launch, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        await Worker(launched).start()


def test_a_plugin_is_prepared_started_named_and_stopped(tmp_path: Path) -> None:
    plugin = FakePlugin()

    async def body(ready: Ready, client: httpx.AsyncClient) -> None:
        assert plugin.calls == ["prepare", "start"]
        assert ready.listeners["fake"] == [Address("fake", "127.0.0.1", 7)]

    run(launch(tmp_path, plugin), body)
    assert plugin.calls == ["prepare", "start", "stop"]


def test_both_ports_answer_health(tmp_path: Path) -> None:
    async def body(ready: Ready, client: httpx.AsyncClient) -> None:
        for address in (ready.http, ready.operations):
            assert (await client.get(f"{address}/health")).status_code == 200

    run(launch(tmp_path, FakePlugin()), body)


def test_while_a_plugin_stops_the_health_says_so(tmp_path: Path) -> None:
    """A load balancer that still asks is told 503 on the operations port."""

    async def whole() -> None:
        plugin = FakePlugin()
        worker = Worker(launch(tmp_path, plugin))
        ready = await worker.start()
        seen: list[int] = []

        async def ask(deadline_s: float) -> None:
            async with httpx.AsyncClient() as client:
                seen.append((await client.get(f"{ready.operations}/health")).status_code)

        plugin.stop = ask  # type: ignore[method-assign]  # asks from inside of the end
        await worker.stop()
        assert seen == [503]

    asyncio.run(whole())


def test_a_plugin_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Records are safe whatever a plugin does: the directory can be opened again."""

    async def whole() -> float:
        launched = launch(tmp_path, FakePlugin(hang=True))
        worker = Worker(launched)
        await worker.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await worker.stop()
        seconds = loop.time() - began
        again = Worker(launch(tmp_path, FakePlugin()))
        await again.start()
        await again.stop()
        return seconds

    assert asyncio.run(whole()) < 5.0


def test_a_port_in_use_is_named_with_its_option(tmp_path: Path) -> None:
    with bind_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        plugin = FakePlugin()
        for name, option in (
            ("http.port", "--http-port"),
            ("operationsApi.network.port", "--operations-port"),
        ):
            body = assert_no_start(
                launch(tmp_path, plugin, **{name: port}), SettingError, f"{port}.*{option}"
            )
            asyncio.run(body)
        assert plugin.calls == []


def test_a_plugins_port_in_use_is_named_and_everything_is_closed_again(tmp_path: Path) -> None:
    broken = FakePlugin(start_error=OSError(98, "Address already in use"))
    launched = launch(tmp_path, broken, **{"fake.port": 1883})
    launched = replace(launched, authorize_local=False)
    asyncio.run(assert_no_start(launched, SettingError, "port 1883 .* in use.*--fake-port"))
    assert broken.calls == ["prepare", "start", "stop"]
    assert not (tmp_path / "data" / "admin-password").exists()

    async def nothing(ready: Ready, client: httpx.AsyncClient) -> None:
        pass

    run(launch(tmp_path, FakePlugin()), nothing)  # the directory is free


def test_a_data_directory_in_use_is_refused_before_anything_listens(tmp_path: Path) -> None:
    second = FakePlugin()

    async def body(ready: Ready, client: httpx.AsyncClient) -> None:
        await assert_no_start(launch(tmp_path, second), DataDirectoryInUse, "data directory")

    run(launch(tmp_path, FakePlugin()), body)
    assert second.calls == []


def test_run_makes_an_admin_and_logs_where_its_password_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "data" / "admin-password"

    async def body(ready: Ready, client: httpx.AsyncClient) -> None:
        assert (ready.admin, ready.password_file) == ("admin", file)

    run(replace(launch(tmp_path, FakePlugin()), authorize_local=False), body)
    assert str(file) in caplog.text
    assert file.read_text().strip() not in caplog.text


def test_dev_makes_no_admin_unless_one_is_given(tmp_path: Path) -> None:
    async def none(ready: Ready, client: httpx.AsyncClient) -> None:
        assert ready.admin == ""

    async def given(ready: Ready, client: httpx.AsyncClient) -> None:
        assert (ready.admin, ready.password_file) == ("root", None)

    run(launch(tmp_path, FakePlugin()), none)
    flags = {"admin.username": "root", "admin.password": "g1ven"}
    run(launch(tmp_path, FakePlugin(), **flags), given)
