"""How many workers ``auto`` means: processors that may be used, not those that are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lyredb.server.processors import usable_processors


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def found(root: Path, *lines: str) -> int:
    groups = root / "cgroup"
    groups.write_text("".join(f"{line}\n" for line in lines))
    return usable_processors(groups=groups, mount=root / "fs")


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("quota", "workers"),
    [("max 100000", 16), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1)],
)
def test_a_quota_of_version_2_counts_by_whole_processors(
    tmp_path: Path, quota: str, workers: int
) -> None:
    group(tmp_path / "fs", "/kube/pod", cpu__max=quota)
    assert found(tmp_path, "0::/kube/pod") == workers


@pytest.mark.usefixtures("many")
def test_the_tightest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    group(tmp_path / "fs", "/kube", cpu__max="300000 100000")
    group(tmp_path / "fs", "/kube/pod", cpu__max="800000 100000")
    assert found(tmp_path, "0::/kube/pod") == 3


@pytest.mark.usefixtures("many")
def test_in_a_container_the_mount_is_its_own_group(tmp_path: Path) -> None:
    """The path is that of the host, where nothing can be seen."""
    group(tmp_path / "fs", "/", cpu__max="400000 100000")
    assert found(tmp_path, "0::/docker/abcdef") == 4


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(("quota", "workers"), [("-1", 16), ("500000", 5)])
def test_a_quota_of_version_1_counts(tmp_path: Path, quota: str, workers: int) -> None:
    group(tmp_path / "fs", "/cpu,cpuacct/pod", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert found(tmp_path, "5:memory:/pod", "4:cpu,cpuacct:/pod") == workers


@pytest.mark.parametrize("processors", [1, 3])
def test_without_quota_the_affinity_counts(
    tmp_path: Path, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    assert usable_processors(groups=tmp_path / "none", mount=tmp_path) == processors


def test_a_huge_machine_gets_no_more_workers_than_may_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(500)))
    assert usable_processors(groups=tmp_path / "none", mount=tmp_path) == 64
