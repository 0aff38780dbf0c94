"""What core's hooks cost in a guest whose clock counts instructions (QEMU's ``-icount``): samples for ``nfharness cost``.

Each figure is the least of many short batches: a timer's tick falls into some of them, and what is left is the same every time.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.guest import netns
from harness.guest.churn import PORT
from harness.guest.module import Hook, HookModule
from harness.netfilter import Family, Verdict, VerdictKind, hook_number

__all__ = ("main", "rehearse")

#: Hooks at a point: those between the least and the most are what a call, or an array's slot, is told from. How a larger array is allocated
#: differs a little from boot to boot, which many slots hide.
_FEW, _MANY_CALLS, _MANY_SLOTS = 1, 65, 513
_BATCHES, _PACKETS, _ROUNDS = 40, 20, 8
_ACCEPT, _STOLEN = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.STOLEN)
_OUTPUT, _INPUT = hook_number(Family.IPV4, "OUTPUT"), hook_number(Family.IPV4, "INPUT")


def main(batches: int = _BATCHES) -> None:
    """Print a JSON object: what → instructions.

    :param batches: of which each figure is the least
    """
    with _place() as (namespace, module):
        with namespace.inside():
            packet, more = (_packet(module, hooks, batches) for hooks in (_FEW, _MANY_CALLS))
        registration, among = (_registration(module, hooks, batches) for hooks in (_FEW, _MANY_SLOTS))
    print(json.dumps({"packet": packet, "hook_call": (more - packet) / (_MANY_CALLS - _FEW), "registration": registration,
                      "slot": (among - registration) / (_MANY_SLOTS - _FEW)}))


def rehearse() -> None:
    """Measure once, roughly: what the first time finds to do is done then."""
    main(1)


@contextmanager
def _place() -> Iterator[tuple[netns.Namespace, HookModule]]:
    """A namespace with nothing in it but ``lo``."""
    namespace = netns.create("nfharness-cost")
    try:
        with HookModule(namespace) as module:
            with namespace.inside(), netns.iproute() as routes:
                routes.link("set", index=1, state="up")
            yield namespace, module
            module.flush()
    finally:
        namespace.delete()


def _packet(module: HookModule, hooks: int, batches: int) -> float:
    """Instructions for a datagram through hooks at OUTPUT, of which the last one takes it."""
    verdicts = [*[_ACCEPT] * (hooks - 1), _STOLEN]
    module.add_hooks(Hook(number, Family.IPV4, _OUTPUT, number, verdict) for number, verdict in enumerate(verdicts, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(("127.0.0.1", PORT))
        data = bytes(32)
        found = _least(lambda: sender.send(data), _PACKETS, batches)
    module.flush()
    return found


def _registration(module: HookModule, hooks: int, batches: int) -> float:
    """Instructions for a hook that comes to a point with hooks and goes again, its two requests included."""
    module.add_hooks(Hook(number, Family.IPV4, _INPUT, number, _ACCEPT) for number in range(1, hooks + 1))
    hook = Hook(hooks + 1, Family.IPV4, _INPUT, hooks + 1, _ACCEPT)
    found = _least(lambda: module.churn(hook, 2 * _ROUNDS, registered=False), 1, batches) / _ROUNDS
    module.flush()
    return found


def _least(action: Callable[[], object], times: int, batches: int) -> float:
    """Nanoseconds, of which each is an instruction, that a call takes in the batch that took the least."""
    spent = []
    for _ in range(batches):
        start = time.perf_counter_ns()
        for _ in range(times):
            action()
        spent.append(time.perf_counter_ns() - start)
    return min(spent) / times
