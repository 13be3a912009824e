"""A shared subscription: each message goes to one of its members, whichever it is.

Nobody knows what comes next at one member, so every frame is compared with the one that
its number names, and what all members got together must be everything, once.
"""

from __future__ import annotations

from bench.load import packets
from bench.load.faults import Faults
from bench.load.flow import FIRST_NUMBER, Flow
from bench.load.frames import BadFrame

NUMBER_AT, NUMBER_BYTES = len(b'{"seq":'), 8


class Share:
    """What the members of one subscription have to get together."""

    def __init__(self, flow: Flow, qos: int) -> None:
        self.flow = flow
        self.faults = Faults()
        self.qos = min(qos, flow.qos)
        frames = flow.delivered(self.qos, flow.everything())
        self.size = len(frames) // flow.cycle
        self.frames = [
            frames[start : start + self.size] for start in range(0, len(frames), self.size)
        ]
        self.number_at = self.size - flow.payload_bytes + NUMBER_AT
        self.id_at = flow.id_at() if self.qos else 0
        self._next = 0
        self._ahead: set[int] = set()

    def note(self, place: int) -> None:
        """Count the arrival of message ``place`` of the cycle at any member."""
        ahead = (place - self._next) % self.flow.cycle
        number = self._next + ahead
        if ahead >= self.flow.cycle // 2 or number in self._ahead:
            self.faults.duplicated += 1
            return
        self._ahead.add(number)
        while self._next in self._ahead:
            self._ahead.remove(self._next)
            self._next += 1

    @property
    def progress(self) -> int:
        return self._next + len(self._ahead)

    def feed(self, data: bytes) -> bytes:
        """Take nothing: members read."""
        raise BadFrame(f"no member reads {len(data)} bytes")

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)


class MemberCheck:
    """Reads what one member gets; its own part has to be in order (MQTT 5 §4.6)."""

    def __init__(self, share: Share) -> None:
        self.faults = Faults()
        self.progress = 0
        self._share = share
        self._last = -1
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        share, data = self._share, self._rest + data
        size = share.size
        whole = len(data) // size * size
        self._rest = data[whole:]
        answers = b""
        for start in range(0, whole, size):
            answers += self._take(data[start : start + size])
        self.progress += whole // size
        return answers

    def finish(self, sent: int) -> None:
        """Nothing: what is missing is missing to all."""

    def _take(self, frame: bytes) -> bytes:
        share, answer, at = self._share, b"", self._share.id_at
        if share.qos:
            answer = packets.puback(int.from_bytes(frame[at : at + 2], "big"))
            frame = frame[:at] + b"\x00\x00" + frame[at + 2 :]
        digits = frame[share.number_at : share.number_at + NUMBER_BYTES]
        place = int(digits) - FIRST_NUMBER if digits.isdigit() else -1
        if not 0 <= place < share.flow.cycle or share.frames[place] != frame:
            self.faults.foreign += 1
            return answer
        cycle = share.flow.cycle
        self.faults.disordered += self._last >= 0 and (place - self._last) % cycle > cycle // 2
        self._last = place
        share.note(place)
        return answer
