"""The undeclared attributes of a record, as a mapping that writes through."""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping


class Extra(MutableMapping[str, object]):
    """What a record holds beside its columns. A change here is one of the record."""

    __slots__ = ("_declared", "_record")

    def __init__(self, record: dict[str, object], declared: Collection[str]) -> None:
        self._record = record
        self._declared = declared

    def __getitem__(self, name: str) -> object:
        if name in self._declared:
            raise KeyError(name)
        return self._record[name]

    def __setitem__(self, name: str, value: object) -> None:
        if name in self._declared:
            raise KeyError(f"{name} is a column; assign to it instead")
        self._record[name] = value

    def __delitem__(self, name: str) -> None:
        if name in self._declared:
            raise KeyError(name)
        del self._record[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._record if name not in self._declared)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))
