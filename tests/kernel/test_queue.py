"""A listener on a queue, and hooks that have something else to say to nf_reinject."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from harness.guest.module import Hook, HookModule
from harness.guest.queue import Listener, queues
from harness.guest.topology import Network
from harness.guest.traffic import payload, send_udp
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import QueueState
from harness.scenario.steps.queue import Listen

pytestmark = pytest.mark.usefixtures("nfharness_ko")

INPUT, SECONDS = 1, 5.0
QUEUE = Hook(1, Family.IPV4, INPUT, 0, Verdict(VerdictKind.QUEUE, queue=7))


@contextmanager
def listening(network: Network, step: Listen | None = None) -> Iterator[Listener]:
    with Listener(network.namespaces["host"], step or Listen("host", 7)) as listener:
        yield listener


def send(network: Network, cookie: int) -> None:
    assert send_udp(network.namespaces["peer"], "10.0.0.1", 9, payload(32, cookie)) == 0


def wait_for(listener: Listener, number: int) -> list[int | None]:
    deadline = time.monotonic() + SECONDS
    while len(listener.waiting()) < number and time.monotonic() < deadline:
        continue
    return [one.cookie for one in listener.waiting()]


def books(network: Network) -> dict[int, QueueState]:
    return dict(queues(network.namespaces["host"]))


def test_packets_wait_and_are_answered_one_by_one(network: Network, module: HookModule) -> None:
    module.add_hook(QUEUE)
    with listening(network) as listener:
        for cookie in (1, 2):
            send(network, cookie)
        assert wait_for(listener, 2) == [1, 2]
        assert books(network) == {7: QueueState(2, sequence=2)}
        assert [listener.answer(VerdictKind.DROP, 2), listener.answer(VerdictKind.ACCEPT)] == [0, 0]
        assert books(network) == {7: QueueState(0, sequence=2)}
        assert listener.answer(VerdictKind.ACCEPT) == errno.ENOENT


def test_a_queue_has_one_listener_and_is_free_when_that_is_gone(network: Network) -> None:
    with ExitStack() as stack:
        stack.enter_context(listening(network))
        with pytest.raises(OSError, match="Operation not permitted"), listening(network):
            pass
    with listening(network):
        assert list(books(network)) == [7]


def test_a_copy_that_is_cut_short_carries_no_cookie(network: Network, module: HookModule) -> None:
    module.add_hook(QUEUE)
    with listening(network, Listen("host", 7, copy_range=40)) as listener:
        send(network, 1)
        assert wait_for(listener, 1) == [None]


def test_a_verdict_that_the_kernel_does_not_take_leaves_the_packet(network: Network, module: HookModule) -> None:
    module.add_hook(QUEUE)
    with listening(network) as listener:
        send(network, 1)
        assert wait_for(listener, 1) == [1]
        assert [listener.answer(verdict) for verdict in (VerdictKind.STOLEN, 0x42)] == [errno.EINVAL] * 2
        assert books(network)[7].total == 1


@pytest.mark.parametrize(("verdict", "times", "calls"), [(VerdictKind.REPEAT, 3, 4), (VerdictKind.STOP, None, 1), (0x42, None, 1)])
def test_a_hook_has_something_else_to_say_where_nf_reinject_calls_it(network: Network, module: HookModule, verdict: int, times: int | None,
                                                                     calls: int) -> None:
    module.add_hook(QUEUE)
    module.add_hook(Hook(2, Family.IPV4, INPUT, 1, Verdict(VerdictKind.ACCEPT), reinject_verdict=verdict, times=times))
    with listening(network) as listener:
        send(network, 1)
        assert wait_for(listener, 1) == [1]
        assert module.hook(2).calls == 0
        assert listener.answer(VerdictKind.ACCEPT) == 0
    assert module.hook(2).calls == calls


def test_a_hook_that_nf_hook_slow_calls_says_what_it_always_says(network: Network, module: HookModule) -> None:
    module.add_hook(Hook(2, Family.IPV4, INPUT, 0, Verdict(VerdictKind.ACCEPT), reinject_verdict=VerdictKind.DROP))
    module.add_hook(Hook(3, Family.IPV4, INPUT, 1, Verdict(VerdictKind.ACCEPT)))
    send(network, 1)
    deadline = time.monotonic() + SECONDS
    while module.hook(3).calls == 0 and time.monotonic() < deadline:
        continue
    assert module.hook(3).calls == 1
