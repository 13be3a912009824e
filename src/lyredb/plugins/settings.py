"""The form of a setting. One table of these makes validation, help and docs.

The server's rooms and each plugin declare their settings as `Setting` rows; the
server joins them into one table and reads files, variables and flags by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lyredb.errors import SettingError

SettingValue = bool | int | float | str
SettingKind = Literal["flag", "integer", "count", "duration", "size", "text", "choice", "port"]

_DURATION_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE_UNITS_BYTES = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
AUTO = 0
"""The value of a ``count`` that is written ``auto``: the server finds the number."""
OFF = -1
"""The value of a ``port`` that is written ``off``; only rows with this minimum allow it."""
_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings table.

    Attributes:
        name: Dotted camelCase name as in the YAML file: ``mqtt.network.port``.
        default: In the kind's own unit: seconds for durations, bytes for sizes.
        kind: Decides how text is read and what is allowed.
        sentence: What it does and why the default is what it is, for help and docs.
        minimum: Smallest allowed number, inclusive; `OFF` lets a ``port`` be ``off``.
        maximum: Largest allowed number, inclusive.
        choices: What a ``choice`` allows.
        option: The command line option, ``""`` for none: ``--mqtt-port``.
        live: A reload (SIGHUP) changes it while the server runs.
    """

    name: str
    default: SettingValue
    kind: SettingKind
    sentence: str
    minimum: float = 0
    maximum: float = float("inf")
    choices: tuple[str, ...] = ()
    option: str = ""
    live: bool = False

    @property
    def is_secret(self) -> bool:
        """Whether nobody may see its value, so that errors do not show it."""
        return self.name.lower().endswith(("password", "secret"))

    @property
    def variable(self) -> str:
        """The environment variable: ``mqtt.network.port`` → ``LYREDB_MQTT_NETWORK_PORT``."""
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name)
        return "LYREDB_" + snake.replace(".", "_").upper()

    @property
    def allowed(self) -> str:
        """What is allowed, as a phrase for errors, help and docs."""
        match self.kind:
            case "flag":
                return "true or false"
            case "choice":
                return ", ".join(self.choices)
            case "port":
                off = "off, or " if self.minimum == OFF else ""
                return f"{off}0 to 65535 (0 = any free port)"
            case "duration":
                return f"a duration such as 500ms, 20s, 5m, 3d{self._bounds('s')}"
            case "size":
                return f"a size such as 64kB, 1MB, 2GiB{self._bounds(' bytes')}"
            case "integer":
                return f"an integer{self._bounds('')}"
            case "count":
                return f"auto (0), or an integer{self._bounds('')}"
            case _:
                return "text"

    def _bounds(self, unit: str) -> str:
        low = f"{self.minimum:.15g}{unit}"
        if self.maximum == float("inf"):
            return f" from {low}"
        return f" from {low} to {self.maximum:.15g}{unit}"

    def parse(self, value: object) -> SettingValue:
        """Read a value from a file, a variable or a flag.

        Raises:
            SettingError: The value is not allowed; names key and what is.
        """
        parsed = self._read(value)
        if parsed is None:
            raise SettingError(self.name, f"got {str(value)[:60]!r}", allowed=self.allowed)
        return parsed

    def _read(self, value: object) -> SettingValue | None:
        match self.kind:
            case "flag":
                return _read_flag(value)
            case "text":
                return value if isinstance(value, str) else None
            case "choice":
                return value if isinstance(value, str) and value in self.choices else None
            case "duration":
                return self._bounded(_read_quantity(value, _DURATION_UNITS_S))
            case "size":
                size = self._bounded(_read_quantity(value, _SIZE_UNITS_BYTES))
                return None if size is None else int(size)
            case "port":
                number = self._read_port(value)
                return number if number is not None and number <= 65_535 else None
            case "integer":
                number = _read_integer(value)
                return None if self._bounded(number) is None else number
            case "count":
                number = AUTO if str(value).strip().lower() == "auto" else _read_integer(value)
                return number if number == AUTO or self._bounded(number) is not None else None

    def _read_port(self, value: object) -> int | None:
        # YAML reads a bare `off` as false.
        number = OFF if value is False or str(value).strip().lower() == "off" else None
        if number is None:
            number = _read_integer(value)
        return number if number is not None and number >= min(self.minimum, 0) else None

    def _bounded(self, number: float | None) -> float | None:
        if number is None or not self.minimum <= number <= self.maximum:
            return None
        return number


def _read_flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def _read_integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else None


def _read_quantity(value: object, units: dict[str, float] | dict[str, int]) -> float | None:
    """Read ``20s`` or ``1MB``; a bare number is in seconds or bytes."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        return None
    if not found[2]:
        return float(found[1])
    unit = units.get(found[2])
    return None if unit is None else float(found[1]) * unit
