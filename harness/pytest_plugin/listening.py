"""A listener on an NFQUEUE queue that answers by itself for the time of a block."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.guest.queue import Listener, Waiting, queues
from harness.netfilter import VerdictKind
from harness.pytest_plugin.mistakes import Mistake, chosen
from harness.pytest_plugin.networks import Host
from harness.scenario.steps.queue import Listen

if TYPE_CHECKING:
    from scapy.packet import Packet

__all__ = ("QueueListener", "QueueVerdict", "listening", "settle_queues")

QueueVerdict = str | None | Callable[["Packet"], str | None]
"""What a listener answers: a verdict, ``None`` for no answer, or a function that says which for each packet."""

#: What ``nfqnl_recv_verdict`` takes and a test has a use for.
_VERDICTS = {kind.name: kind for kind in (VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.REPEAT, VerdictKind.STOP)}
_ANSWER_S, _POLL_S = 3.0, 0.005
#: So often in a row a function may say REPEAT of the same bytes: a packet comes back as another one, and a test waits for each.
_REPEATS = 100
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD


class QueueListener:
    """A queue's listener (:meth:`harness.pytest_plugin.lab.Lab.listener`), which a thread serves.

    :ivar host: where the queue is
    :ivar queue: its number
    :ivar answered: how many packets it has answered
    """

    def __init__(self, host: Host, queue: int, verdict: QueueVerdict) -> None:
        self.host = host
        self.queue = queue
        self.answered = 0
        self._repeats: Counter[bytes] = Counter()
        self._verdict = verdict
        self._listener = _bound(host, queue)
        self._came: list[Waiting] = []
        self._packets: list[Packet] = []
        self._left: set[int] = set()
        self._error: BaseException | None = None
        self._serving = threading.Lock()
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name=f"queue {queue} of {host}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<listener to queue {self.queue} of {self.host}: {len(self._came)} came, {self.answered} answered>"

    @property
    def packets(self) -> list[Packet]:
        """The packets that came so far, oldest first, as scapy has them: from the network header on."""
        self._packets += map(_parsed, self._came[len(self._packets):])
        return list(self._packets)

    @property
    def is_busy(self) -> bool:
        """Whether a packet waits that is still to be answered, by the kernel's books of the queue."""
        with self._serving:
            if self._error or not self._thread.is_alive():
                return False
            books = dict(queues(self.host.namespace))
            return self.queue in books and books[self.queue].total > len(self._left)

    def close(self) -> None:
        """Answer what has come, and hang up. The kernel drops what was left without an answer.

        :raises BaseException: what a function for verdicts raised
        :raises Mistake: it said REPEAT for ever
        """
        os.eventfd_write(self._end, 1)
        self._thread.join()
        os.close(self._end)
        self._listener.close()
        if self._error:
            raise self._error

    def _serve(self) -> None:
        try:
            ended = False
            while not ended:
                ready, _, _ = select.select([self._listener.fileno(), self._end], [], [])
                ended = self._end in ready
                with self._serving:
                    self._answer_all()
        except BaseException as error:  # pytest.fail() of a function for verdicts, too
            self._error = error
            self._listener.close()  # what waits is dropped, instead of holding up a test that has failed

    def _answer_all(self) -> None:
        while new := [waiting for waiting in self._listener.waiting() if waiting.id not in self._left]:
            for waiting in new:
                self._came.append(waiting)
                verdict = self._verdict(_parsed(waiting)) if callable(self._verdict) else self._verdict
                if verdict is None:
                    self._left.add(waiting.id)
                    continue
                answer = chosen("answer", verdict, _VERDICTS)
                self._check_ends(waiting.data, answer)
                refused = self._listener.answer_to(waiting, answer)
                if refused not in (0, errno.ENOENT):  # a packet is gone with its device
                    raise OSError(refused, f"the kernel refuses the answer {verdict}: {os.strerror(refused)}")
                self.answered += 1

    def _check_ends(self, data: bytes, answer: VerdictKind) -> None:
        if answer is not VerdictKind.REPEAT:
            self._repeats.pop(data, None)
            return
        self._repeats[data] += 1
        if self._repeats[data] > _REPEATS:
            raise Mistake(f"the function for queue {self.queue} said REPEAT of one packet {_REPEATS} times",
                          hint="REPEAT sends a packet back into the queue: remember it, and say something else when it is there again")


def _bound(host: Host, queue: int) -> Listener:
    try:
        return Listener(host.namespace, Listen(host.name, queue))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EBUSY):
            raise
        raise Mistake(f"queue {queue} of {host} has a listener already", hint="a queue has one listener: choose another queue") from None


def _parsed(waiting: Waiting) -> Packet:
    from scapy.layers.inet import IP  # noqa: PLC0415 - seconds in an emulated guest
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415
    from scapy.layers.l2 import ARP  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    return {_IPV4: IP, _IPV6: IPv6, _ARP: ARP}.get(waiting.protocol, Raw)(waiting.data)


@contextmanager
def listening(host: Host, queue: int, verdict: QueueVerdict) -> Iterator[QueueListener]:
    """A listener for the time of a block.

    :raises Mistake: the queue has one already, or there is no such verdict
    """
    if not callable(verdict) and verdict is not None and chosen("answer", verdict, _VERDICTS) is VerdictKind.REPEAT:
        raise Mistake("REPEAT sends each packet back into the queue, for ever", hint="a function may say REPEAT once: verdict=function")
    listener = QueueListener(host, queue, verdict)
    try:
        yield listener
    finally:
        listener.close()


def settle_queues(listeners: Collection[QueueListener], settle: Callable[[], object]) -> None:
    """Go on when the listeners have answered all that comes to them, for three seconds at most.

    :param settle: waits until no packet is under way; one that is answered may come to another listener
    """
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        before = sum(listener.answered for listener in listeners)
        settle()
        while any(listener.is_busy for listener in listeners) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if before == sum(listener.answered for listener in listeners):
            return
