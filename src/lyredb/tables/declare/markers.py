"""Types that Python has no word for: to a type checker plain ``int`` and ``str``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias


@dataclass(frozen=True, slots=True)
class Scalar:
    """Names the scalar type that an annotated Python type stands for."""

    name: str


ID: TypeAlias = Annotated[str, Scalar("ID")]
"""A string or a list of strings. ``Key[str]`` is an ID by itself."""
String: TypeAlias = Annotated[str, Scalar("String")]
"""A string and nothing else; for keys, where ``str`` means `ID`."""
Int32: TypeAlias = Annotated[int, Scalar("Int")]
"""−2³¹ to 2³¹−1; a plain ``int`` goes to ±2⁵³."""
BigInt: TypeAlias = Annotated[int, Scalar("BigInt")]
"""Up to 300 digits."""
