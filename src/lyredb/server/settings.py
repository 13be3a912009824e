"""The settings in force: one table of rows, and four layers of values for them.

Defaults < files (the application's ``config.yaml``, then ``--config``) < environment
(``LYREDB_MQTT_NETWORK_PORT``) < flags (``--mqtt-port``). A name that no row has and a
value that its row does not allow are errors that say where they stand.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lyredb.errors import InvalidBody, SettingError
from lyredb.formats.yaml_text import load_yaml
from lyredb.plugins.settings import Setting, SettingValue

_PREFIX: Final = "LYREDB_"
_NOT_SETTINGS: Final = re.compile(r"LYREDB_(COMPILE|PORT(_\d.*)?|SERVICE_(HOST|PORT).*)")
"""Variables of other makers: the build's, and those that Kubernetes sets in every pod
beside a service that is called `lyredb`."""


class SettingsInForce:
    """Values by name, after all layers (implements ``plugins.scope.Settings``)."""

    def __init__(self, values: Mapping[str, SettingValue]) -> None:
        self._values = dict(values)

    def flag(self, name: str) -> bool:
        """A ``flag``."""
        value = self._values[name]
        assert isinstance(value, bool), name
        return value

    def integer(self, name: str) -> int:
        """An ``integer``, ``port`` or ``size`` (bytes)."""
        value = self._values[name]
        assert isinstance(value, int), name
        return value

    def seconds(self, name: str) -> float:
        """A ``duration`` in seconds."""
        value = self._values[name]
        assert isinstance(value, int | float), name
        return float(value)

    def text(self, name: str) -> str:
        """A ``text`` or ``choice``."""
        value = self._values[name]
        assert isinstance(value, str), name
        return value

    def values(self) -> Mapping[str, SettingValue]:
        """All of them, the administrator's password included: do not print."""
        return self._values

    def __repr__(self) -> str:
        return f"SettingsInForce({len(self._values)} values)"


class SettingsTable:
    """All rows, and how values for them are read.

    Args:
        rows: Of the core and of each protocol; names, variables and options are unique.

    Raises:
        SettingError: Two rows have a name, a variable or an option in common.
    """

    def __init__(self, rows: Iterable[Setting]) -> None:
        self.rows: tuple[Setting, ...] = tuple(rows)
        self._by_name = self._unique("name")
        self._by_variable = self._unique("variable")
        self._by_option = self._unique("option")

    def load(
        self,
        *,
        files: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> SettingsInForce:
        """Return the values in force.

        Args:
            files: YAML, later ones win.
            environment: Variables; those that do not begin with ``LYREDB_`` are ignored.
            flags: Values by option (``--mqtt-port``) or name; ``None`` is not given.

        Raises:
            SettingError: An unknown setting or a value that is not allowed.
        """
        values = {row.name: row.default for row in self.rows}
        for file in files:
            values.update(self._of_file(file))
        for variable, text in (environment or {}).items():
            variable_row = self._of_variable(variable)
            if variable_row is not None:
                values[variable_row.name] = _parse(variable_row, text, f"in {variable}")
        for flag, value in (flags or {}).items():
            if value is not None:
                flag_row = self._by_option.get(flag) or self._named(flag, "the command line")
                values[flag_row.name] = _parse(flag_row, value, f"in {flag}")
        return SettingsInForce(values)

    def row(self, name: str) -> Setting:
        """Return the row of a name, which must exist."""
        return self._by_name[name]

    def _of_file(self, file: Path) -> dict[str, SettingValue]:
        values: dict[str, SettingValue] = {}
        for name, value in _flatten(_read_yaml(file)):
            row = self._named(name, file.name)
            if row.name in values:
                raise SettingError(row.name, f"set twice in {file.name}")
            values[row.name] = _parse(row, value, f"in {file.name}")
        return values

    def _unique(self, attribute: str) -> dict[str, Setting]:
        found: dict[str, Setting] = {}
        for row in self.rows:
            key: str = getattr(row, attribute)
            if key and found.setdefault(key, row) is not row:
                raise SettingError(row.name, f"declared twice ({attribute} {key})")
        return found

    def _named(self, name: str, source: str) -> Setting:
        row = self._by_name.get(name)
        if row is None:
            raise SettingError(name, self._unknown(name, source))
        return row

    def _unknown(self, name: str, source: str) -> str:
        members = ", ".join(row.name for row in self.rows if row.name.startswith(f"{name}."))
        if members:
            return f"a group of settings, not a setting, in {source}; it has {members}"
        return f"no such setting, in {source}{_near_miss(name, self._by_name)}"

    def _of_variable(self, variable: str) -> Setting | None:
        row = self._by_variable.get(variable)
        if row is None and variable.startswith(_PREFIX) and not _NOT_SETTINGS.fullmatch(variable):
            hint = _near_miss(variable, self._by_variable)
            raise SettingError(variable, f"no such setting, in the environment{hint}")
        return row


def _near_miss(name: str, known: Mapping[str, object]) -> str:
    folded = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.7)
    return f"; did you mean {folded[close[0]]}?" if close else ""


def _parse(row: Setting, value: object, where: str) -> SettingValue:
    if row.kind == "choice" and isinstance(value, bool):
        value = str(value).lower()  # YAML reads `true` as a boolean
    try:
        return row.parse(value)
    except SettingError as error:
        got = "a value" if row.is_secret else repr(str(value)[:60])
        raise SettingError(row.name, f"got {got} {where}", allowed=row.allowed) from error


def _flatten(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield dotted names and values of nested, dotted or mixed keys."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        elif value is not None:  # `mqtt:` with nothing below it sets nothing
            yield name, value


def _read_yaml(file: Path) -> Mapping[str, object]:
    try:
        tree = load_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(str(file), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(file.name, "is no UTF-8 text") from error
    except InvalidBody as error:
        raise SettingError(file.name, str(error)) from error
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise SettingError(file.name, "must be a mapping of names to values")
    return tree
