"""Users, roles and whole directories from the command line, without a server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lyredb.cli.role import read_rights
from lyredb.errors import InvalidInput
from lyredb.operations.upgrade import CURRENT, text_of
from lyredb.storage.engine import Engine
from tests.operations.test_upgrade import made as with_format
from tests.storage.store import Store, fill

ENVIRONMENT = {name: value for name, value in os.environ.items() if "LYREDB" not in name}


def lyredb(
    *arguments: str | Path, stdin: str = "", code: int = 0, folder: Path | None = None
) -> str:
    """Run a command, and return what it prints: its error when it shall fail."""
    done = subprocess.run(
        [sys.executable, "-m", "lyredb", *map(str, arguments)],
        input=stdin,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        env=ENVIRONMENT,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code == 1 else done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with two records."""
    store = Store(tmp_path / "data")
    fill(store, ["a", "b"], value=1)
    store.close()
    return tmp_path / "data"


def test_a_password_comes_from_standard_input_or_a_file(data: Path, tmp_path: Path) -> None:
    """And never from the command line, which every user of the machine can read."""
    (tmp_path / "secret").write_text("from a file\nsecond line\n")
    lyredb("user", "add", "ada", "--role", "super_user", "--data", data, stdin="one\n")
    file = ("--password-file", tmp_path / "secret")
    lyredb("user", "add", "bob", "--role", "super_user", "--data", data, *file)
    assert "NAME  ROLE        ACTIVE\nada   super_user  yes\nbob" in lyredb(
        "user", "list", "--data", data
    )
    assert (
        "No such option"
        in subprocess.run(
            [sys.executable, "-m", "lyredb", "user", "add", "eve", "--password", "x"],
            capture_output=True,
            text=True,
            timeout=30,
        ).stderr
    )


def test_an_empty_password_is_refused(data: Path) -> None:
    told = lyredb("user", "add", "ada", "--role", "super_user", "--data", data, code=1)
    assert told == "lyredb: the password is empty\n"


def test_users_are_changed(data: Path) -> None:
    place = ("--data", data)
    lyredb("role", "set", "reader", "data.Sensor=read", *place)
    lyredb("user", "add", "ada", "--role", "super_user", *place, stdin="one\n")
    lyredb("user", "add", "bob", "--role", "super_user", *place, stdin="two\n")
    lyredb("user", "role", "bob", "reader", *place)
    lyredb("user", "deactivate", "bob", *place)
    listed = json.loads(lyredb("user", "list", "--json", *place))
    assert listed[1] == {"name": "bob", "role": "reader", "active": False}
    lyredb("user", "activate", "bob", *place)
    lyredb("user", "password", "bob", *place, stdin="three\n")
    lyredb("user", "remove", "bob", *place)
    assert [one["name"] for one in json.loads(lyredb("user", "list", "--json", *place))] == ["ada"]
    assert "last active super user" in lyredb("user", "remove", "ada", *place, code=1)


def test_exported_roles_can_be_applied_again(data: Path, tmp_path: Path) -> None:
    place = ("--data", data)
    lyredb("role", "set", "reader", "data.Sensor=read,insert", "data.*=read", *place)
    lyredb("role", "set", "root", "--super-user", *place)
    exported = lyredb("role", "export", *place)
    (tmp_path / "roles.yaml").write_text(exported)
    lyredb("role", "remove", "reader", *place)
    assert "set 2 roles: reader, root" in lyredb("role", "apply", tmp_path / "roles.yaml", *place)
    assert lyredb("role", "export", *place) == exported
    shown = lyredb("role", "show", "reader", *place)
    assert "Sensor:\n      read: true\n      insert: true" in shown
    assert "root        everything" in lyredb("role", "list", *place)


@pytest.mark.parametrize(
    ("rights", "shown"),
    [
        (
            "read(name,phone),update(phone)",
            {
                "read": True,
                "update": True,
                "attributes": {"name": {"read": True}, "phone": {"read": True, "update": True}},
            },
        ),
        (
            "read,delete,update( phone )",
            {
                "read": True,
                "delete": True,
                "update": True,
                "attributes": {"phone": {"update": True, "read": True}, "*": {"read": True}},
            },
        ),
        ("read, insert", {"read": True, "insert": True}),
    ],
)
def test_attributes_stand_in_parentheses_behind_their_right(
    rights: str, shown: dict[str, object]
) -> None:
    """A right without any, beside one with some, is for all that are declared."""
    assert read_rights([f"data.Person={rights}"]) == {"data": {"Person": shown}}


@pytest.mark.parametrize("rights", ["read()", "read(a", "read)a(", "read(a,)", "(a)", "read(a)b"])
def test_attributes_in_another_form_are_refused(rights: str) -> None:
    with pytest.raises(InvalidInput):
        read_rights([f"data.Person={rights}"])


def test_rights_on_attributes_are_exported_and_applied_again(data: Path, tmp_path: Path) -> None:
    place = ("--data", data)
    lyredb("role", "set", "clerk", "data.Person=read(name,phone),update(phone)", *place)
    exported = lyredb("role", "export", *place)
    (tmp_path / "roles.yaml").write_text(exported)
    lyredb("role", "remove", "clerk", *place)
    lyredb("role", "apply", tmp_path / "roles.yaml", *place)
    assert lyredb("role", "export", *place) == exported
    assert "      attributes:\n        name:\n          read: true\n" in exported
    told = lyredb("role", "set", "x", "data.Person=read(name),delete(name)", *place, code=1)
    assert "delete is a right on whole records" in told


def test_a_right_that_is_none_is_named(data: Path) -> None:
    told = lyredb("role", "set", "reader", "data.Sensor=fly", "--data", data, code=1)
    assert "'fly' is no right" in told
    told = lyredb("role", "set", "reader", "Sensor=read", "--data", data, code=1)
    assert "DATABASE.TABLE=RIGHT" in told


def test_a_table_can_be_kept_from_what_all_others_allow(data: Path) -> None:
    place = ("--data", data)
    lyredb("role", "set", "reader", "data.*=read", "data.Secret=none", *place)
    shown = lyredb("role", "show", "reader", *place)
    assert shown == "reader:\n  data:\n    '*':\n      read: true\n    Secret: {}\n"


def test_a_table_that_comes_twice_is_refused(data: Path) -> None:
    """One of the two would be lost, and nobody would notice."""
    rights = ("data.Sensor=read", "data.Sensor=insert")
    told = lyredb("role", "set", "reader", *rights, "--data", data, code=1)
    assert told == "lyredb: data.Sensor is named twice; write data.Sensor=RIGHT,RIGHT\n"


def test_backup_and_restore_say_what_they_did(data: Path, tmp_path: Path) -> None:
    told = lyredb("backup", tmp_path / "copy", "--data", data)
    assert told.startswith(f"backed up {data} to {tmp_path / 'copy'}: ")
    assert "position 2" in told
    told = lyredb("restore", tmp_path / "copy", "--data", tmp_path / "again")
    assert told.endswith("position 2, checked\n")
    assert stat.S_IMODE((tmp_path / "again").stat().st_mode) == 0o700


def test_check_says_that_all_agree(data: Path) -> None:
    assert "position 2: all agree" in lyredb("check", "--data", data)
    report = json.loads(lyredb("check", "--data", data, "--json"))
    assert (report["position"], report["problems"]) == (2, [])


def test_check_ends_with_3_when_something_does_not_agree(data: Path) -> None:
    engine = Engine.open(data)
    with engine.write() as transaction:
        transaction.drop(engine.handles.records[16], delete=False)
    engine.close()
    assert "problem" in lyredb("check", "--data", data, code=3)


def test_upgrade_says_what_there_is_and_does_nothing_when_it_is_current(data: Path) -> None:
    told = lyredb("upgrade", "--data", data)
    assert told == (
        f"{data} has format {text_of(CURRENT)}, as this version writes it: nothing to do\n"
    )


def test_upgrade_refuses_a_later_format(tmp_path: Path) -> None:
    path = with_format(tmp_path / "data", (CURRENT[0] + 1, 0))
    told = lyredb("upgrade", "--data", path, code=1)
    assert "which a later version of LyreDB wrote" in told


def test_status_says_that_no_server_runs(data: Path) -> None:
    assert lyredb("status", "--data", data, code=1) == f"lyredb: no server runs on {data}\n"


def test_data_is_found_where_run_and_dev_put_it(tmp_path: Path) -> None:
    """And a command that could mean either has to be told."""
    told = lyredb("check", tmp_path, code=1)
    assert f"there is no database in {tmp_path}/data" in told
    Store(tmp_path / ".lyredb").close()
    assert f"{tmp_path}/.lyredb" in lyredb("check", folder=tmp_path)
    Store(tmp_path / "data").close()
    assert "choose with --data" in lyredb("user", "list", "--app", tmp_path, code=1)
    (tmp_path / "config.yaml").write_text(f"storage: {{path: '{tmp_path}/data'}}\n")
    assert f"{tmp_path}/data" in lyredb("check", folder=tmp_path)


def test_a_directory_that_a_program_has_open_is_told_apart(data: Path) -> None:
    """``lyredb.open()`` holds the lock and answers no commands."""
    engine = Engine.open(data)
    try:
        told = lyredb("user", "list", "--data", data, code=1)
    finally:
        engine.close()
    assert f"process {os.getpid()} has the data directory open" in told
    assert "lyredb.open()" in told
