"""Who brought a packet in a queue to its end: its listener, the kernel in its place, or nobody took it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from harness.guest.queue import Listener
from harness.netfilter import VerdictKind
from harness.outcome import describe
from harness.pytest_plugin import Dropped
from harness.pytest_plugin.lab import Lab
from harness.scenario.steps.queue import CopyMode, Listen
from tests.kernel.test_ends import chain, sockets

PORT = 9


def waited_for(listener: Listener) -> None:
    deadline = time.monotonic() + 5
    while not listener.waiting():
        assert time.monotonic() < deadline, "nothing came into the queue"
        time.sleep(0.01)


def answered(listener: Listener) -> None:
    waited_for(listener)
    assert listener.answer(VerdictKind.DROP) == 0


def hung_up(listener: Listener) -> None:
    waited_for(listener)
    listener.close()
    time.sleep(0.5)  # the kernel empties the queue after a grace period


@pytest.mark.parametrize(("end", "said"), [
    (answered, r"answered DROP after [\d.]+ \S+"),
    (hung_up, r"DROP after [\d.]+ \S+: the kernel emptied its queue, in \w+"),
])
def test_who_drops_what_waits_in_a_queue(lab: Lab, end: Callable[[Listener], None], said: str) -> None:
    net = lab.router()
    lab.nft(chain("forward", f"udp dport {PORT} queue num 5"))
    with sockets(socket.SOCK_DGRAM, (net.client, ("", 0))) as (client,), lab.trace() as walks, \
            Listener(net.router.namespace, Listen(net.router.name, 5)) as listener:
        client.sendto(b"queued", (net.server.address, PORT))
        end(listener)
    walk, = walks
    assert walk.fate == Dropped(0)
    assert re.fullmatch(said, describe.answer(walk.outcome.traversals[-1]))


def test_a_queue_that_is_full_and_fails_open_is_answered_by_no_listener(lab: Lab) -> None:
    net = lab.router()
    lab.nft(chain("forward", f"udp dport {PORT} queue num 5"))
    with sockets(socket.SOCK_DGRAM, (net.server, ("", PORT)), (net.client, ("", 0))) as (server, client), lab.trace() as walks, \
            Listener(net.router.namespace, Listen(net.router.name, 5, maxlen=1, fail_open=True)) as listener:
        client.sendto(b"fills it", (net.server.address, PORT))
        waited_for(listener)
        client.sendto(b"goes on", (net.server.address, PORT))
        assert server.recv(9) == b"goes on"
        answered(listener)
    back = next(traversal for traversal in walks[1].outcome.traversals if traversal.answer)
    assert (describe.answer(back), back.waited) == ("ACCEPT: its queue was full and fails open", None)


@pytest.mark.parametrize(("listens", "why"), [
    (None, "has no listener"), ("packet", "is full, or its listener's socket is"), ("none", "refused it (EINVAL)"),
], ids=["no listener", "full", "a listener that wants no packets"])
def test_what_no_queue_takes_is_nobodys_answer(lab: Lab, listens: CopyMode | None, why: str) -> None:
    net = lab.router()
    lab.nft(chain("forward", f"udp dport {PORT} queue num 5"))
    listener = Listener(net.router.namespace, Listen(net.router.name, 5, maxlen=1, copy=listens)) if listens else nullcontext()
    with listener, sockets(socket.SOCK_DGRAM, (net.client, ("", 0))) as (client,), lab.trace() as walks:
        for _ in range(2):
            client.sendto(b"not taken", (net.server.address, PORT))
        if listens == "packet" and isinstance(listener, Listener):
            answered(listener)
    last = walks[1]
    assert (last.fate, last.reason, last.outcome.traversals[-1].answer) == (Dropped(0), f"its queue {why}, in nf_queue", None)
