"""What a group is on one worker, and what groups need of the rooms around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Subscriber
from lyredb.resources.reached import Reached
from lyredb.resources.requests import SubscribeOptions
from lyredb.sessions.group import Desk, Sharing
from lyredb.sessions.group_session import GroupSession


class Opened(Protocol):
    """The subscription of a group that is owned here."""

    def start(self) -> None:
        """Begin."""

    def resume(self) -> None:
        """Go on: the subscriber has drained."""

    def fall_behind(self) -> None:
        """Send nothing more until `resume`."""

    def reached(self) -> Reached:
        """How far it has handed out what it tells."""

    def close(self) -> None:
        """End it."""


class Feed(Protocol):
    """What groups need of a `lyredb.resources.database.Database`."""

    def subscribe(
        self,
        filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str = "",
    ) -> Opened:
        """Prepare a subscription."""

    def when_known(self, callback: Callable[[], None]) -> None:
        """Call back once all workers know of what was prepared."""

    def drained(self, subscriber: Subscriber) -> None:
        """A subscriber can take more again."""


class Notes(Protocol):
    """What groups need of `lyredb.delivery.peers.notes.Notes`."""

    def on_note(self, kind: str, handler: Callable[[int, bytes], None]) -> None:
        """Have a handler called with each note of a kind."""

    def watch(self, attached: Callable[[int], None], detached: Callable[[int], None]) -> None:
        """Be told of workers that come and go."""


class Peers(Protocol):
    """What groups need of `lyredb.delivery.peers.Peers`."""

    @property
    def notes(self) -> Notes:
        """Who takes notes."""

    def note(self, number: int, kind: str, body: bytes) -> None:
        """Tell another worker something."""


@dataclass(frozen=True, slots=True)
class GroupName:
    """Which group: members of another role see other things, and so are a group of their own.

    Attributes:
        share: The ShareName (MQTT 5 §4.8.2).
        filter: What it is subscribed to.
        role: Whose rights decide.
    """

    share: str
    filter: str
    role: str

    def __str__(self) -> str:
        return f"{self.share}\0{self.filter}\0{self.role}"


@dataclass(slots=True, eq=False)
class Group:
    """A group on this worker.

    Attributes:
        name: As text.
        filter: What it is subscribed to.
        context: Of the member that came first here.
        desk: The members here.
        coming: Those that have reserved a seat and not taken it.
        owner: The worker that owns it, None until that is known.
        is_ready: Its owner gets the messages.
        on_ready: Who waits for that.
        sharing: The owner's part, when that is this worker.
        subscription: Likewise.
        elsewhere: How many members are coming on other workers.
        asked: Workers that wait for it to be ready.
        is_durable: A member's session outlives its connection, so the group has one.
        change: Durable memberships that have begun here, or ended, and are not told.
        epoch: Of the owner's appointment.
        session: The group's, when it is owned here and durable.
        is_opening: It is being opened.
    """

    name: str
    filter: str
    context: Context
    desk: Desk = field(default_factory=Desk)
    coming: int = 0
    owner: int | None = None
    is_ready: bool = False
    on_ready: list[Callable[[], None]] = field(default_factory=list)
    sharing: Sharing | None = None
    subscription: Opened | None = None
    elsewhere: dict[int, int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    is_durable: bool = False
    change: int = 0
    epoch: int = 0
    session: GroupSession | None = None
    is_opening: bool = False
