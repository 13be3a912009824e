"""Files of mosquitto: what they say is what the roles give, and what is wrong is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import InvalidInput
from lyredb.operations.mosquitto_config import read_config
from lyredb.operations.mosquitto_files import (
    anonymous_rules,
    notes_on,
    read_access_file,
    read_password_file,
    role_definitions,
    role_of,
    roles_of,
)
from lyredb.security.principals import SUPER_USER
from lyredb.security.rights import read_role
from tests.security.test_mosquitto_hashes import PBKDF2, SHA512

ACL = """# for clients without a name
topic read public/#

user alice
topic alice/#
topic deny alice/secret
topic read a b/c
topic write %u/x
pattern write sensor/%u/data
pattern readwrite dev-%c

user zoe
topic public/z
"""


def written(folder: Path, text: str, name: str = "file") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_an_access_file_becomes_roles(tmp_path: Path) -> None:
    """Patterns are for everybody, whatever user stands before them; the rest is literal."""
    access = read_access_file(written(tmp_path, ACL))
    assert roles_of(access, ["alice", "bob"]) == {
        "mosquitto": {"sensor/%u/data": "write", "dev-%c": "both"},
        "mosquitto-alice": {
            "alice/#": "both",
            "alice/secret": "none",
            "a b/c": "read",
            "%%u/x": "write",
            "sensor/%u/data": "write",
            "dev-%c": "both",
        },
    }
    assert anonymous_rules(access) == {
        "public/#": "read",
        "sensor/%u/data": "write",
        "dev-%c": "both",
    }
    assert [role_of(access, user) for user in ("alice", "bob")] == ["mosquitto-alice", "mosquitto"]
    assert "zoe" in notes_on(access, ["alice"])[0]


def test_the_roles_can_be_defined_and_none_is_built_in(tmp_path: Path) -> None:
    """Whatever a user is called: one of that name must not become a super user."""
    access = read_access_file(written(tmp_path, "user super_user\ntopic #\n"))
    roles = role_definitions(roles_of(access, ["super_user"]))
    assert SUPER_USER.name not in roles
    for name, definition in roles.items():
        assert not read_role(name, definition).super_user


def test_without_an_access_file_everything_is_open() -> None:
    assert roles_of(None, ["a"]) == {"mosquitto": {"#": "both", "$SYS/#": "read"}}
    assert role_of(None, "a") == "mosquitto"


def test_two_lines_of_one_topic_add_up_and_deny_wins(tmp_path: Path) -> None:
    text = "topic read a\ntopic write a\ntopic b\ntopic deny b\n"
    access = read_access_file(written(tmp_path, text))
    assert access.anonymous == {"a": "both", "b": "none"}


@pytest.mark.parametrize(
    ("pattern", "ours"),
    [("a/%u", "a/%u"), ("a/%%u", "a/%%%u"), ("100%", "100%%"), ("%x", "%%x"), ("%%", "%%%%")],
)
def test_only_two_letters_behind_a_percent_sign_stand_for_a_name(
    pattern: str, ours: str, tmp_path: Path
) -> None:
    assert read_access_file(written(tmp_path, f"pattern {pattern}")).patterns == {ours: "both"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("topic maybe a", "line 2: 'maybe' is none of read"),
        ("topic a b", "line 2: 'a' is none of read"),
        ("topic read a/#/b", "line 2: '#' must be the whole last level"),
        ("topic", "line 2: a pattern must have a letter"),
        ("user", "line 2: is no topic"),
        ("allow a", "line 2: is no topic"),
    ],
)
def test_a_line_that_is_wrong_is_an_error(line: str, problem: str, tmp_path: Path) -> None:
    """A rule that is left out may open something, so nothing is skipped."""
    with pytest.raises(InvalidInput, match=problem):
        read_access_file(written(tmp_path, f"topic read x\n{line}\n"))


def test_a_password_file_is_read(tmp_path: Path) -> None:
    text = f"# c\n\neve:{PBKDF2}\nbob:{SHA512}\nbob:{PBKDF2}\n"
    assert read_password_file(written(tmp_path, text)) == {"eve": PBKDF2, "bob": PBKDF2}


@pytest.mark.parametrize("line", ["eve", "eve:", "eve:secret", ":" + PBKDF2])
def test_a_line_without_a_hash_is_an_error_that_does_not_show_it(line: str, tmp_path: Path) -> None:
    """It may be a password: mosquitto_passwd -U hashes files of plain ones."""
    with pytest.raises(InvalidInput, match="line 1") as caught:
        read_password_file(written(tmp_path, line))
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for read in (read_password_file, read_access_file, read_config):
        with pytest.raises(InvalidInput, match="cannot be read"):
            read(tmp_path / "none")


CONFIG = """# a broker
listener 1884
listener 8884 10.0.0.1
certfile /etc/c.pem
keyfile /etc/k.pem
crlfile /etc/r.pem
require_certificate true
listener 9001
protocol websockets
listener 0 /run/m.sock
allow_anonymous false
password_file pw
acl_file acl
max_inflight_messages 20
max_queued_messages 0
persistent_client_expiration 2w
persistence true
connection up
address a.b
topic # out
"""


def test_a_configuration_becomes_settings(tmp_path: Path) -> None:
    found = read_config(written(tmp_path, CONFIG))
    assert found.settings == {
        "mqtt.network.port": 1884,
        "mqtt.network.securePort": 8884,
        "network.host": "0.0.0.0",
        "mqtt.network.unixSocket": "/run/m.sock",
        "tls.certificate": "/etc/c.pem",
        "tls.privateKey": "/etc/k.pem",
        "tls.certificateRevocationList": "/etc/r.pem",
        "mqtt.network.mtls": "required",
        "http.port": 9001,
        "mqtt.requireAuthentication": True,
        "mqtt.maxInflight": 20,
        "mqtt.maxSessionExpiry": 14 * 86_400,
    }
    assert (found.password_file, found.access_file) == (Path("pw"), Path("acl"))
    assert found.allows_anonymous is False
    left = {line.split(" ")[0] for line in found.left}
    assert left == {"network.host", "max_queued_messages", "connection"}
    assert len(found.needless) == 1


def test_an_option_that_nobody_knows_is_left_to_do(tmp_path: Path) -> None:
    found = read_config(written(tmp_path, "plugin /usr/lib/x.so\n"))
    assert found.left == ["plugin /usr/lib/x.so: has no setting here"]


def test_included_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    written(tmp_path / "more", "max_connections 7\n", "b.conf")
    written(tmp_path / "more", "max_connections 5\n", "a.conf")
    found = read_config(written(tmp_path, f"include_dir {tmp_path / 'more'}\n"))
    assert found.settings == {"mqtt.maxConnections": 7}


def test_a_limit_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    for line in ("max_connections many", "listener x", "persistent_client_expiration 2"):
        with pytest.raises(InvalidInput, match="must be"):
            read_config(written(tmp_path, line))
