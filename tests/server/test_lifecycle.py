"""The end of a server: asked once it stops in order, asked twice it is gone."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from lyredb.server.lifecycle import Step, StopRequest, run_steps


def test_a_signal_asks_for_the_end_and_a_second_one_forces_it() -> None:
    async def body() -> None:
        exits: list[int] = []
        request = StopRequest(exits.append)
        request.listen()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(request.wait(), 5)
            assert exits == []
            request.receive(signal.SIGINT)
            assert exits == [128 + signal.SIGINT]
        finally:
            request.deafen()

    asyncio.run(body())


def test_a_closed_terminal_asks_for_the_end_and_never_insists() -> None:
    """Kernel and shell each send SIGHUP: the second one must not cut the end short."""

    async def body() -> None:
        exits: list[int] = []
        request = StopRequest(exits.append)
        request.listen()
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.wait_for(request.wait(), 5)
            request.receive(signal.SIGHUP)
            assert exits == []
            request.receive(signal.SIGTERM)
            assert exits == [128 + signal.SIGTERM]
        finally:
            request.deafen()

    asyncio.run(body())


def test_under_nohup_a_closed_terminal_is_nothing() -> None:
    async def body() -> None:
        request = StopRequest()
        request.listen()
        try:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            request.deafen()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(body())
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_steps_run_in_order_and_share_the_time() -> None:
    async def body() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        def step(name: str, most_s: float) -> Step:
            async def run(within_s: float) -> None:
                seen.append((name, within_s))

            return Step(name, run, most_s)

        await run_steps([step("plugins", 2.0), step("http", 9.0), step("node", 9.0)], within_s=3.0)
        return seen

    seen = asyncio.run(body())
    assert [name for name, _ in seen] == ["plugins", "http", "node"]
    assert seen[0][1] == 2.0
    assert 2.0 < seen[1][1] <= 3.0


def test_a_step_that_fails_does_not_keep_the_store_from_closing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> list[str]:
        seen: list[str] = []

        async def fail(_: float) -> None:
            raise RuntimeError("broken plugin")

        async def close(_: float) -> None:
            seen.append("closed")

        await run_steps([Step("plugins", fail, 1.0), Step("node", close, 1.0)])
        return seen

    assert asyncio.run(body()) == ["closed"]
    assert "stopping: plugins failed" in caplog.text
    assert "broken plugin" in caplog.text


def test_a_step_that_hangs_is_cancelled_and_the_rest_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> list[str]:
        seen: list[str] = []

        async def hang(_: float) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")

        async def close(_: float) -> None:
            await asyncio.sleep(0)
            seen.append("closed")

        steps = [Step("plugins", hang, 0.05), Step("node", close, 1.0)]
        await run_steps(steps, within_s=0.05, grace_s=0.05)
        return seen

    assert asyncio.run(body()) == ["cancelled", "closed"]
    assert "plugins took longer" in caplog.text
