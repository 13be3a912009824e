"""What can go wrong with a message, counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Faults:
    """What went wrong, in messages.

    Attributes:
        lost: Never came.
        duplicated: Came again.
        disordered: Came after a later one.
        foreign: Is no message of ours, stands on the wrong topic, or was refused.
    """

    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    foreign: int = 0

    def add(self, other: Faults) -> None:
        """Add the counts of ``other``."""
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.disordered += other.disordered
        self.foreign += other.foreign

    @property
    def total(self) -> int:
        return self.lost + self.duplicated + self.disordered + self.foreign

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items() if count)
