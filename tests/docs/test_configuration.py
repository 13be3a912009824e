"""What pages show of `config.yaml`, `roles.yaml` and the ready line is what the server takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lyredb.operations.roles_file import read_roles
from lyredb.protocols.mqtt.bridge_file import Way, read_bridges
from lyredb.security.rights import TableRights, read_role
from lyredb.server.composition import settings_table
from tests.docs.pages import Block, all_blocks, blocks
from tests.server.process import Server, make_application

PAGES = ("http.md", "logins.md", "security.md", "settings.md")
CONFIGURATION = [one for one in all_blocks("yaml") if one.page in PAGES]
ROLES = [one for one in all_blocks("yaml") if one.page == "access.md"]


def file_of(block: Block, folder: Path) -> Path:
    file = folder / "file.yaml"
    file.write_text(block.code, encoding="utf-8")
    return file


def test_every_yaml_of_a_page_is_known_for_what_it_is() -> None:
    """Nothing below is left out; the configuration of Prometheus is not ours to check."""
    others = {one.page for one in all_blocks("yaml")} - {*PAGES, "access.md", "bridge.md"}
    assert others == {"metrics.md"}
    assert CONFIGURATION
    assert ROLES


@pytest.mark.parametrize("block", CONFIGURATION, ids=str)
def test_configuration_of_a_page_is_taken(block: Block, tmp_path: Path) -> None:
    """Whoever copies it into `config.yaml` can start a server, and `off` is off."""
    settings = settings_table().load(files=[file_of(block, tmp_path)])
    if block.page == "security.md":
        assert settings.integer("http.port") == settings.integer("mqtt.network.port") == -1


@pytest.mark.parametrize("block", ROLES, ids=str)
def test_roles_of_a_page_are_taken(block: Block, tmp_path: Path) -> None:
    """Whoever copies them into `roles.yaml` gets roles, in which the most exact line decides."""
    roles = {
        name: read_role(name, one) for name, one in read_roles(file_of(block, tmp_path)).items()
    }
    if "dashboard" in roles:
        assert roles["dashboard"].rights("data", "Sensor") == TableRights(read=True)
        assert roles["dashboard"].rights("data", "Secret") == TableRights()
        assert roles["operator"].rights("plant", "Sensor") == TableRights(True, True, True, True)
        assert roles["root"].super_user
    elif "device" in roles:
        topics = roles["device"].topics
        assert topics is not None
        mine = topics.bound("eve", "c1")
        assert mine.may_all("write", "in/eve/a")
        assert mine.may_all("read", "cmd/c1/a")
        assert not mine.may_all("read", "shared/keys/a")
    else:
        declared = ("id", "name", "phone", "pay")
        clerk, auditor = (roles[one].rights("data", "Person") for one in ("clerk", "auditor"))
        assert clerk.allowed("read", declared) == frozenset(("name", "phone"))
        assert clerk.allowed("update", declared) == frozenset(("phone",))
        assert auditor.allowed("read", declared) == frozenset(("id", "name", "phone"))


@pytest.mark.parametrize("block", blocks("bridge.md"), ids=str)
def test_bridges_of_a_page_are_taken(block: Block, tmp_path: Path) -> None:
    """Whoever copies them into the file of `mqtt.bridges` has a bridge."""
    (tmp_path / "password").write_text("secret\n")
    code = block.code.replace("/etc/lyredb/cloud.password", str(tmp_path / "password"))
    assert "password" in code
    file = tmp_path / "bridges.yaml"
    file.write_text(code, encoding="utf-8")
    bridge = read_bridges(str(file))["cloud"]
    assert Way(bridge.topics, outwards=True).map("sensors/1") == ("site7/sensors/1", 1)
    assert Way(bridge.topics, outwards=False).map("site7/commands/go") == ("commands/go", 1)


def test_ready_line_of_the_page_has_the_keys_of_a_real_one(tmp_path: Path) -> None:
    """Who reads the line with a program finds what the page shows, and the administrator once."""
    (shown,) = (
        json.loads(one.code) for one in blocks("reference/server.md") if one.language == "json"
    )
    with Server("run", make_application(tmp_path), "--workers", "2") as server:
        assert set(server.ready) == {*shown, "admin", "passwordFile"}
        assert server.ready["workers"] == shown["workers"]
