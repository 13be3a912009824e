"""A CONNECT on its way in: who is it, may its will be, is its client identifier free.

Three questions, and two of them may take time: the password (0.1 s of another thread) and
the identifier (the connection that has it stops first). What the client sends meanwhile
is legal and waits, unread. Whoever is let in was not revoked since its password was right.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Protocol

from lyredb.errors import LyreError, NotAuthorised
from lyredb.plugins.context import Context
from lyredb.protocols.mqtt import handshake, login
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.packets import V5, Connect
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.reasons import Reason, Violation, return_code
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.wills import LastWill
from lyredb.security.authenticator import Account
from lyredb.sessions.claims import Refusal
from lyredb.sessions.stored import StoredSession

logger = logging.getLogger("lyredb.mqtt")


@dataclass(frozen=True, slots=True)
class Origin:
    """What the listener knows of whoever is at the other end.

    Attributes:
        address: For logs, with the port where there is one.
        host: By which failed logins are counted.
        account: Whom the listener knows it to be; used when the CONNECT has no credentials.
        content_type: Of its payloads that say none, ``""`` to look at them.
    """

    address: str = ""
    host: str = ""
    account: Account | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A CONNECT that is let in.

    Attributes:
        connect: As it came.
        context: Whose rights decide.
        client_id: Its own, or a new one.
        epoch: Of the claim of the identifier.
        will: Decided.
        stored: The session, when it outlives the connection.
    """

    connect: Connect
    context: Context
    client_id: str
    epoch: int
    will: LastWill
    stored: StoredSession | None = None


class Gate(Protocol):
    """The connection, as its entrance needs it."""

    def let_in(self, admitted: Admitted) -> None:
        """Answer the CONNECT with yes."""

    def refuse(self, version: int, reason: Reason, sentence: str, largest: int = 0) -> None:
        """Answer the CONNECT with no, in at most ``largest`` bytes (0: any), and close."""

    def take_over(self) -> None:
        """End: another connection has the client identifier now."""

    def watch(self, user: str) -> None:
        """End when a login of this user becomes void, from now on."""

    def watch_end(self, account: Account) -> None:
        """End when a login ends by itself."""


class Entrance:
    """One CONNECT, from its packet to `Gate.let_in` or `Gate.refuse`.

    Args:
        gate: The connection.
        service: What all connections share.
        origin: Where it came from.
        connect: The packet.
    """

    __slots__ = ("_connect", "_gate", "_is_over", "_origin", "_service")

    def __init__(self, gate: Gate, service: Service, origin: Origin, connect: Connect) -> None:
        self._gate = gate
        self._service = service
        self._origin = origin
        self._connect = connect
        self._is_over = False

    def begin(self) -> None:
        """Ask the first question.

        Raises:
            Violation: The answer is no, whatever the others are.
        """
        try:
            self._begin()
        except Violation as violation:
            violation.largest = self._largest
            raise

    @property
    def _largest(self) -> int:
        """The client's Maximum Packet Size, 0 for any: for refusals too."""
        return self._connect.properties.number(Property.MAXIMUM_PACKET_SIZE)

    def _begin(self) -> None:
        connect = self._connect
        handshake.check_connect(connect)
        if self._service.is_full:
            raise Violation(
                Reason.SERVER_BUSY, "Too many clients are connected", version=connect.version
            )
        if connect.username:
            # Before the password is looked at: what happens to the user meanwhile counts.
            self._gate.watch(connect.username)
        origin = self._origin
        account = login.known_account(connect, self._service, origin.account, origin.host)
        if account is None:
            self._service.spawn(self._verify())
        else:
            self._claim(account)

    def give_up(self) -> None:
        """The peer is gone, or was refused: nobody waits for an answer."""
        self._is_over = True

    def revoke(self, reason: str) -> None:
        """The login became void after its password was right."""
        error = NotAuthorised(reason)
        self._refuse(answer_for(error).end, sentence_of(error))

    async def _verify(self) -> None:
        try:
            account = await login.verify(self._connect, self._service, self._origin.host)
        except LyreError as error:
            self._refuse(answer_for(error).end, sentence_of(error))
        except Exception:
            self._fail()
        else:
            self._claim(account)

    def _claim(self, account: Account) -> None:
        """Decide the will, then wait for the identifier."""
        if self._is_over:
            return
        service, connect = self._service, self._connect
        if account is not self._origin.account and account.name not in ("", connect.username):
            self._gate.watch(account.name)  # a token said who it is
        self._gate.watch_end(account)
        client_id = connect.client_id or service.new_client_id()
        ban_s = service.flapping.ban_s(account.name, client_id)
        if ban_s:
            sentence = f"Connected too often: banned for {ban_s:.0f} s"
            self._refuse(Reason.BANNED, sentence)
            return
        context = service.database.identify(
            Context(
                account.principal,
                "mqtt",
                account.name,
                service.new_session(),
                self._origin.address,
                client_id,
            )
        )
        will = LastWill(
            connect.will,
            service,
            context,
            self._origin.content_type,
            expiry_s=handshake.expiry_of(connect, service.limits),
            role="" if account.is_stored else account.principal.name,
        )
        try:
            registered = will.prepare()
        except LyreError as error:
            self._refuse(self._will_reason(error), f"The will is refused: {sentence_of(error)}")
            return

        def on_result(result: int | Refusal | LyreError) -> None:
            if not isinstance(result, int) or isinstance(result, Refusal):
                self._refuse_claim(result)
            elif self._is_over:
                service.release(client_id, result, was_let_in=False)
            else:
                self._open(Admitted(connect, context, client_id, result, will))

        service.claim(
            client_id,
            account.name,
            on_result,
            self._gate.take_over,
            registered,
            clean_start=connect.clean_start,
        )

    def _will_reason(self, error: LyreError) -> Reason:
        """Why there cannot be such a will.

        3.1.1 has no word for a wrong topic or payload; a client that is told nothing comes
        again for ever, so it is told that it may not have this will (3.1.1 §3.2.2.3, 5).
        """
        answer = answer_for(error)
        is_wordless = self._connect.version != V5 and return_code(answer.end) is None
        return Reason.NOT_AUTHORIZED if is_wordless and answer.lasting else answer.end

    def _open(self, admitted: Admitted) -> None:
        """Take up the client's session, or forget it; then there is no question left."""
        service, connect = self._service, admitted.connect

        def on_open(result: StoredSession | Refusal | LyreError | None) -> None:
            if isinstance(result, (Refusal, LyreError)):
                service.release(admitted.client_id, admitted.epoch, was_let_in=False)
                self._refuse_claim(result)
            elif self._is_over:
                self._give_back(admitted, result)
            else:
                context = admitted.context if result is None else result.context
                self._let_in(replace(admitted, stored=result, context=context))

        service.sessions.open(
            admitted.context,
            admitted.epoch,
            clean_start=connect.clean_start,
            expiry_s=handshake.expiry_of(connect, service.limits),
            on_open=on_open,
        )

    def _give_back(self, admitted: Admitted, stored: StoredSession | None) -> None:
        """The peer has gone while its session was opened."""
        service = self._service
        if stored is None:
            service.release(admitted.client_id, admitted.epoch, was_let_in=False)
            return
        expiry_s = handshake.expiry_of(admitted.connect, service.limits)
        service.begin_write()

        def closed(error: LyreError | None) -> None:
            service.end_write()
            service.release(admitted.client_id, admitted.epoch, was_let_in=False)

        stored.close(expiry_s, closed)

    def _let_in(self, admitted: Admitted) -> None:
        self._is_over = True
        self._service.claims.confirm(admitted.client_id, admitted.epoch)
        try:
            self._gate.let_in(admitted)
        except Exception:
            self._fail()

    def _refuse_claim(self, result: Refusal | LyreError) -> None:
        match result:
            case Refusal.OTHER_USER:
                self._refuse(
                    Reason.CLIENT_IDENTIFIER_NOT_VALID, "Another user has this client identifier"
                )
            case Refusal.SUPERSEDED:
                self._refuse(Reason.SERVER_BUSY, "Another connection took this client identifier")
            case LyreError():
                self._refuse(answer_for(result).end, sentence_of(result))

    def _refuse(self, reason: Reason, sentence: str) -> None:
        if not self._is_over:
            self._say_no(reason, sentence)

    def _say_no(self, reason: Reason, sentence: str) -> None:
        self.give_up()
        self._gate.refuse(self._connect.version, reason, sentence, self._largest)

    def _fail(self) -> None:
        # The edge of a connection: a fault of ours ends this one only.
        logger.exception("mqtt connect from %s failed", self._origin.address)
        self._say_no(Reason.UNSPECIFIED_ERROR, "Internal error")
