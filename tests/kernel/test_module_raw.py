"""Private arrays: core's raw functions and nf_hook_slow, with every verdict there is and some that there are not."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.guest import netns, raw
from harness.guest.health import KernelLog
from harness.guest.module import HookModule, HookRefused, load, unload
from harness.guest.netns import Namespace
from harness.guest.raw import RawHook, RawResult
from harness.guest.uapi import Attribute, Command, pack
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, VerdictKind
from harness.pytest_plugin.kernel import RunningKernel

pytestmark = [pytest.mark.usefixtures("nfharness_ko"), pytest.mark.may_warn("net/netfilter/(core|nf_queue).c|hook not found")]

ACCEPT, DROP, STOLEN, QUEUE = VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.QUEUE
QUEUE_BYPASS = 0x8000
Flood = Callable[[Namespace, str], AbstractContextManager[None]]
FREED, NOT_FREED = 1, 2


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = netns.create(f"nfh{os.getpid()}-raw")
    yield namespace
    namespace.delete()


@pytest.fixture
def module(namespace: Namespace) -> Iterator[HookModule]:
    with HookModule(namespace) as opened:
        yield opened


def insert(module: HookModule, *verdicts: int) -> None:
    """Hooks 1, 2 … of ascending priority."""
    for number, verdict in enumerate(verdicts, 1):
        raw.insert(module, RawHook(number, 0, number, verdict))


def ids(module: HookModule, array: int = 0) -> list[int | None]:
    return [slot.hook_id for slot in raw.slots(module, array)]


# Inserting and deleting

def test_hooks_are_in_order_of_priority_and_equal_ones_newest_first(module: HookModule) -> None:
    for number, priority in enumerate((0, 5, 5, PRIORITY_MAX, PRIORITY_MIN), 1):
        raw.insert(module, RawHook(number, 7, priority, ACCEPT))
    slots = raw.slots(module, 7)
    assert [(slot.index, slot.hook_id, slot.priority, slot.function) for slot in slots] == [
        (index, number, priority, "nfharness_hook")
        for index, (number, priority) in enumerate([(5, PRIORITY_MIN), (1, 0), (3, 5), (2, 5), (4, PRIORITY_MAX)])]
    assert module.hooks() == []


def test_altered_priorities_show_and_move_nobody(module: HookModule) -> None:
    insert(module, ACCEPT, ACCEPT)
    raw.alter(module, 1, PRIORITY_MAX)
    assert [(slot.hook_id, slot.priority) for slot in raw.slots(module, 0)] == [(1, PRIORITY_MAX), (2, 2)]
    with pytest.raises(HookRefused, match="no private array of the namespace has a hook with this ID") as refused:
        raw.alter(module, 3, 0)
    assert refused.value.errno == errno.ENOENT
    with pytest.raises(HookRefused, match="attribute PRIORITY is missing"):
        module.request(Command.RAW_ALTER, pack(Attribute.ID, 1))


def test_what_was_altered_is_flushed_without_a_warning(module: HookModule, kernel: RunningKernel) -> None:
    insert(module, *[ACCEPT] * 5)
    raw.alter(module, 3, PRIORITY_MAX)
    with KernelLog() as log:
        raw.delete(module, 1)
        assert len(log.splats()) == 2 * kernel.profile.hooks_validated  # of 4 and 5, and so would the next removal
        module.flush()
        assert log.splats() == []
    assert ids(module) == []


def test_deleting_keeps_the_order_of_the_others_and_the_last_one_ends_the_array(module: HookModule) -> None:
    insert(module, ACCEPT, ACCEPT, ACCEPT)
    raw.delete(module, 2)
    assert ids(module) == [1, 3]
    raw.delete(module, 1)
    raw.delete(module, 3)
    assert ids(module) == []
    with pytest.raises(HookRefused, match="the private array is empty") as refused:
        raw.run(module, 0)
    assert (refused.value.errno, refused.value.attribute) == (errno.ENOENT, Attribute.ARRAY)


def test_deleting_what_is_not_there_changes_nothing_and_does_not_warn(module: HookModule) -> None:
    insert(module, ACCEPT, ACCEPT)
    raw.insert(module, RawHook(9, 1, 0, ACCEPT))
    raw.delete(module, 9, array=0)
    assert (ids(module), ids(module, 1)) == ([1, 2], [9])


def test_the_1025th_hook_is_refused(module: HookModule) -> None:
    refusals = raw.insert_many(module, [RawHook(number, 0, 0, ACCEPT) for number in range(1, 1026)])
    assert [(number, refusal.errno) for number, refusal in enumerate(refusals, 1) if refusal] == [(1025, errno.E2BIG)]
    assert raw.run(module, 0) == RawResult(1, tuple(range(1024, 0, -1)), NOT_FREED)


def test_an_id_is_taken_once_in_a_namespace(module: HookModule) -> None:
    insert(module, ACCEPT)
    with pytest.raises(HookRefused, match="has a hook with this ID already") as refused:
        raw.insert(module, RawHook(1, 5, 0, ACCEPT))
    assert (refused.value.errno, ids(module, 5)) == (errno.EEXIST, [])


def test_a_hook_that_no_array_has_is_not_deleted(module: HookModule) -> None:
    with pytest.raises(HookRefused, match="no private array of the namespace has a hook with this ID") as refused:
        raw.delete(module, 1)
    assert refused.value.errno == errno.ENOENT


# nf_hook_slow

@pytest.mark.parametrize("verdict", [0x00000001, 0xFFFF0001, 0x00008001, 0xFFFFFF01], ids=hex)
def test_only_the_low_byte_of_an_accept_decides(module: HookModule, verdict: int) -> None:
    insert(module, verdict, ACCEPT)
    assert raw.run(module, 0) == RawResult(1, (1, 2), NOT_FREED)


@pytest.mark.parametrize(("verdict", "returned"), [
    (DROP, -errno.EPERM),
    (DROP | errno.EHOSTUNREACH << 16, -errno.EHOSTUNREACH),
    (DROP | 4095 << 16, -4095),
    (DROP | 0x7FFF << 16, -0x7FFF),
    (DROP | 0xFFFF << 16, 1),
], ids=["plain", "EHOSTUNREACH", "MAX_ERRNO", "15 bits", "positive"])
def test_a_drop_frees_the_skb_and_returns_its_errno(module: HookModule, verdict: int, returned: int) -> None:
    insert(module, ACCEPT, verdict, ACCEPT)
    assert raw.run(module, 0) == RawResult(returned, (1, 2), FREED)


def test_a_stolen_skb_is_not_freed_and_later_hooks_do_not_run(module: HookModule) -> None:
    insert(module, STOLEN, ACCEPT)
    assert raw.run(module, 0) == RawResult(0, (1,), NOT_FREED)


@pytest.mark.parametrize("verdict", [VerdictKind.REPEAT, VerdictKind.STOP, 6, 0xFF, 0x12345604], ids=hex)
def test_what_is_no_verdict_ends_the_loop_and_frees_nothing(module: HookModule, verdict: int) -> None:
    insert(module, ACCEPT, verdict, ACCEPT)
    assert raw.run(module, 0) == RawResult(0, (1, 2), NOT_FREED)


@pytest.mark.parametrize(("start", "called"), [(0, (1, 2, 3)), (1, (2, 3)), (2, (3,)), (3, ()), (2**32 - 1, ())])
def test_the_loop_begins_at_the_slot_that_it_is_told(
        module: HookModule, start: int, called: tuple[int, ...]) -> None:
    insert(module, ACCEPT, ACCEPT, ACCEPT)
    assert raw.run(module, 0, start) == RawResult(1, called, NOT_FREED)


def test_a_queue_without_a_listener_drops_and_with_bypass_goes_on(module: HookModule) -> None:
    insert(module, QUEUE | QUEUE_BYPASS | 5 << 16, QUEUE | 5 << 16, ACCEPT)
    assert raw.run(module, 0) == RawResult(0, (1, 2), FREED)


@contextlib.contextmanager
def listener(queue: int) -> Iterator[None]:
    """A listener bound to a queue, in the calling thread's namespace (``nfnetlink_queue.h``), that never answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
        for attribute, value in ((1, struct.pack("!BBH", 1, 0, 0)), (2, struct.pack("!IB", 0xFFFF, 2))):
            body = struct.pack("!BBH", 0, 0, queue) + struct.pack("=HH", 4 + len(value), attribute) + value
            body += bytes(-len(body) % 4)
            netlink.send(struct.pack("=IHHII", 16 + len(body), 3 << 8 | 2, 0x5, 1, 0) + body)
            assert struct.unpack_from("=i", netlink.recv(4096), 16)[0] == 0
        yield


def test_no_listener_is_left_with_a_packet_of_a_private_array(namespace: Namespace, module: HookModule) -> None:
    """It could not be reinjected: its array is none of a hook point's, of which older kernels warn when it is thrown away."""
    insert(module, QUEUE | 5 << 16)
    with namespace.inside(), listener(5):
        with pytest.raises(HookRefused, match="a listener took the packet") as refused:
            raw.run(module, 0)
        assert refused.value.errno == errno.EBUSY
        number, _, waiting = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text().split()[:3]
        assert (number, waiting) == ("5", "0")
    assert raw.run(module, 0) == RawResult(0, (1,), FREED)


def test_a_listener_s_packet_is_thrown_away_while_datagrams_arrive(namespace: Namespace, module: HookModule, flood: Flood) -> None:
    """Core throws queues away when a hook leaves LOCAL_IN: what leaves there must be fit for the stack's packets."""
    insert(module, QUEUE | 5 << 16)
    with namespace.inside(), listener(5):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with flood(namespace, "127.0.0.1"):
            for _ in range(50):
                with pytest.raises(HookRefused, match="a listener took the packet"):
                    raw.run(module, 0)
    assert (module.hooks(), ids(module)) == ([], [1])


# Requests

@pytest.mark.parametrize("command", [
    lambda module: raw.insert(module, RawHook(1, 0, 0, ACCEPT)), lambda module: raw.delete(module, 1),
    lambda module: raw.run(module, 0), lambda module: raw.slots(module, 0),
], ids=["insert", "delete", "run", "slots"])
def test_without_cap_net_admin_every_command_is_refused(
        namespace: Namespace, in_child: Callable[[Callable[[], object]], str], command: Callable[[HookModule], object]) -> None:
    def as_nobody() -> object:
        with namespace.inside():
            module = HookModule()
            os.setresuid(65534, 65534, 65534)
            return command(module)

    answer = in_child(as_nobody)
    assert f"[Errno {errno.EPERM}]" in answer, answer


def test_private_arrays_die_with_their_namespace_and_with_the_module() -> None:
    """Freed twice or used after, they would be seen in the kernel's log; left behind, the module would not unload cleanly."""
    for number in range(3):
        namespace = netns.create(f"nfh{os.getpid()}-dying{number}")
        with HookModule(namespace) as module:
            insert(module, ACCEPT, DROP)
            raw.insert(module, RawHook(9, 4, 0, ACCEPT))
        if number:
            namespace.delete()
    unload()
    load()
    with HookModule(namespace := Namespace.find(f"nfh{os.getpid()}-dying0")) as module:
        assert (ids(module), ids(module, 4)) == ([], [])
    namespace.delete()
