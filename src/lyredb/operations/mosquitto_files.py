"""Password and ACL files of mosquitto, read into users and roles of ours.

A user of ours has one role, so each mosquitto user with lines of its own gets the role
``mosquitto-<user>``: its lines and the patterns for everybody. All others get the role
``mosquitto``, which has the patterns alone. Nothing that cannot be read is guessed at: a line
that is wrong is an error with its number, since a rule that is left out may open something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lyredb.errors import InvalidInput
from lyredb.security.changes import is_name
from lyredb.security.passwords import is_known_hash
from lyredb.security.topics import Word, literal, pattern_problem

Rules = dict[str, Word]
COMMON_ROLE: Final = "mosquitto"
EVERYTHING: Final[Rules] = {"#": "both", "$SYS/#": "read"}
"""Of whoever has no ACL file; ``#`` does not reach ``$SYS``."""
_MAX_PROBLEMS: Final = 20
_ACCESS: Final[Mapping[str, Word]] = {
    "read": "read",
    "write": "write",
    "readwrite": "both",
    "deny": "none",
}
_LONE_PERCENT: Final = re.compile("%(?![uc])")


@dataclass(frozen=True, slots=True)
class AccessFile:
    """What an ACL file says, in patterns of ours.

    Attributes:
        anonymous: Lines before the first ``user``: for clients without a user name.
        users: Lines of each user.
        patterns: Lines for everybody.
    """

    anonymous: Rules = field(default_factory=dict)
    users: dict[str, Rules] = field(default_factory=dict)
    patterns: Rules = field(default_factory=dict)


def read_password_file(file: Path) -> dict[str, str]:
    """Return hashes by user; of a user that is listed twice, the last one.

    Raises:
        InvalidInput: It cannot be read, or a line has no user or no hash that can be checked;
            no hash is ever in the message.
    """
    hashes: dict[str, str] = {}
    problems: list[str] = []
    for number, line in _lines(file):
        name, colon, stored = line.strip().partition(":")
        if not colon or not is_name(name):
            problems.append(f"line {number}: has no user name and hash")
        elif not is_known_hash(stored):
            problems.append(f"line {number}: the hash of {name[:60]!r} is of no known form")
        else:
            hashes[name] = stored
    _refuse(file, problems)
    return hashes


def read_access_file(file: Path) -> AccessFile:
    """Return what an ACL file says.

    Raises:
        InvalidInput: It cannot be read, or has lines that are wrong.
    """
    found = AccessFile()
    rules = found.anonymous
    problems: list[str] = []
    for number, line in _lines(file):
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        problem = ""
        if word == "user" and is_name(rest):
            rules = found.users.setdefault(rest, {})
        elif word in ("topic", "pattern"):
            into = rules if word == "topic" else found.patterns
            problem = _add_rule(into, rest, is_literal=word == "topic")
        else:
            problem = "is no topic, pattern or user"
        if problem:
            problems.append(f"line {number}: {problem}")
    _refuse(file, problems)
    return found


def roles_of(access: AccessFile | None, users: Iterable[str]) -> dict[str, Rules]:
    """Return the roles that give what mosquitto would give, by name.

    Args:
        access: ``None`` without an ACL file: then everybody may do everything.
        users: Those of the password file. Lines of others are left out: nobody can be them.
    """
    if access is None:
        return {COMMON_ROLE: dict(EVERYTHING)}
    roles = {COMMON_ROLE: dict(access.patterns)}
    for user in sorted(users):
        if user in access.users:
            roles[role_of(access, user)] = _joined(access.users[user], access.patterns)
    return roles


def role_of(access: AccessFile | None, user: str) -> str:
    """Return the role of a user; none that is built in, whatever the user is called."""
    has_lines = access is not None and user in access.users
    return f"{COMMON_ROLE}-{user}" if has_lines else COMMON_ROLE


def anonymous_rules(access: AccessFile | None) -> Rules:
    """Return what clients without a user name may do, where these are let in."""
    if access is None:
        return dict(EVERYTHING)
    return _joined(access.anonymous, access.patterns)


def notes_on(access: AccessFile | None, users: Iterable[str]) -> list[str]:
    """Return what is different here from what mosquitto would decide, as sentences."""
    if access is None:
        return []
    notes = []
    unknown = sorted(set(access.users) - set(users))
    if unknown:
        names = ", ".join(unknown[:10]) + (", …" if len(unknown) > 10 else "")
        notes.append(f"the ACL file has lines for users without a password, left out: {names}")
    taken = [text for text, word in access.patterns.items() if word == "none"]
    if taken and access.users:
        notes.append(
            "a pattern that denies wins over topic lines of users here, which mosquitto lets "
            f"win: {', '.join(taken[:5])}"
        )
    return notes


def role_definitions(roles: Mapping[str, Rules]) -> dict[str, object]:
    """Return roles in the form of ``roles.yaml``."""
    return {name: {"topics": dict(rules)} for name, rules in roles.items()}


def _add_rule(rules: Rules, rest: str, *, is_literal: bool) -> str:
    """Take ``[read|write|readwrite|deny] <topic>``; return what is wrong with it."""
    first, space, topic = rest.partition(" ")
    access, topic = (first, topic.strip()) if space else ("readwrite", first)
    if access not in _ACCESS:
        return f"{access[:40]!r} is none of {', '.join(_ACCESS)}"
    problem = pattern_problem(topic)
    if problem:
        return problem
    _give(rules, literal(topic) if is_literal else _pattern(topic), _ACCESS[access])
    return ""


def _pattern(text: str) -> str:
    """A pattern of mosquitto, where only ``%u`` and ``%c`` are special, as one of ours."""
    return _LONE_PERCENT.sub("%%", text)


def _give(rules: Rules, pattern: str, word: Word) -> None:
    before = rules.get(pattern, word)
    if before == word:
        rules[pattern] = word
    else:
        rules[pattern] = "none" if "none" in (before, word) else "both"


def _joined(one: Rules, other: Rules) -> Rules:
    joined = dict(one)
    for pattern, word in other.items():
        _give(joined, pattern, word)
    return joined


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file.name} is no UTF-8 text") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def _refuse(file: Path, problems: list[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _MAX_PROBLEMS} more" * (len(problems) > _MAX_PROBLEMS)
        raise InvalidInput(f"{file.name}: {'; '.join(problems[:_MAX_PROBLEMS])}{more}")
