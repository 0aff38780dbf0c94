"""What tracing and registering cost in this guest: samples for ``nfharness bench``."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from harness.guest.module import Hook, HookModule
from harness.guest.prepare import tracer
from harness.guest.topology import Network, built
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.scenario.topology import PAIR
from harness.trace.capture import Capture

__all__ = ("main",)

_PACKETS, _BATCH, _HOOKS, _PAIRS = 2000, 500, 8, 200
_ACCEPT, _STOLEN = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.STOLEN)
_PREROUTING, _INPUT, _OUTPUT = (hook_number(Family.IPV4, name) for name in ("PREROUTING", "INPUT", "OUTPUT"))
_TO = ("10.0.0.1", 9)


def main(rounds: int) -> None:
    """Print a JSON object: metric → *rounds* samples, in nanoseconds or a second's worth."""
    samples: dict[str, list[float]] = {}
    with built(PAIR) as network:
        for _ in range(rounds):
            for name, value in _round(network):
                samples.setdefault(name, []).append(value)
    print(json.dumps(samples))


def _round(network: Network) -> Iterator[tuple[str, float]]:
    yield "trace_ns_per_hook_call", _cost_of_a_call(network)
    yield from zip(("packets_per_s_untraced", "packets_per_s_traced"), _packets_per_second(network), strict=True)
    yield "register_unregister_per_s", _registrations_per_second(network)


def _cost_of_a_call(network: Network) -> float:
    """What tracing adds to a packet that ends at OUTPUT after some hooks, for each of them: entry and exit of the loop are shared out."""
    verdicts = [_ACCEPT] * (_HOOKS - 1) + [_STOLEN]
    hooks = [Hook(number, Family.IPV4, _OUTPUT, number, verdict) for number, verdict in enumerate(verdicts, 1)]
    with _hooked(network, "peer", hooks), _sender(network) as send:
        untraced = _seconds(send, _PACKETS)
        with Capture(tracer()):
            # They all fit into the ring: emptying it is not what is measured here.
            traced = _seconds(send, _PACKETS)
    return (traced - untraced) / (_PACKETS * _HOOKS) * 1e9


def _packets_per_second(network: Network) -> tuple[float, float]:
    """Datagrams over a veth pair, through a hook that accepts and one that steals them; traced, the ring is emptied meanwhile."""
    hooks = [Hook(1, Family.IPV4, _PREROUTING, 0, _ACCEPT), Hook(2, Family.IPV4, _INPUT, 0, _STOLEN)]
    with _hooked(network, "host", hooks), _sender(network) as send:
        untraced = _seconds(send, 2 * _PACKETS)
        with Capture(tracer()) as capture:
            def empty() -> None:
                capture.drain()
                capture.hand_over()

            traced = _seconds(send, 2 * _PACKETS, between=empty)
    return 2 * _PACKETS / untraced, 2 * _PACKETS / traced


def _registrations_per_second(network: Network) -> float:
    """Pairs of register and unregister at a point that keeps a hook, so that no static key flips; each a netlink request."""
    with HookModule(network.namespaces["host"]) as module:
        module.add_hook(Hook(1, Family.IPV4, _INPUT, 0, _ACCEPT))
        start = time.perf_counter()
        for _ in range(_PAIRS):
            module.add_hook(Hook(2, Family.IPV4, _INPUT, 0, _ACCEPT))
            module.del_hook(2)
        spent = time.perf_counter() - start
        module.flush()
    return _PAIRS / spent


@contextmanager
def _hooked(network: Network, netns: str, hooks: list[Hook]) -> Iterator[None]:
    with HookModule(network.namespaces[netns]) as module, ExitStack() as stack:
        stack.callback(module.flush)
        for hook in hooks:
            module.add_hook(hook)
        yield


@contextmanager
def _sender(network: Network) -> Iterator[Callable[[], object]]:
    """Sends a datagram from ``peer`` to ``host`` at each call."""
    with network.namespaces["peer"].inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    with sender:
        sender.connect(_TO)
        data = bytes(32)
        yield lambda: sender.send(data)


def _seconds(send: Callable[[], object], count: int, between: Callable[[], None] = lambda: None) -> float:
    """Seconds for *count* packets, after some more that warm up whatever can be. :param between: called after each batch"""
    for _ in range(_BATCH // 5):
        send()
    between()
    start = time.perf_counter()
    for _ in range(count // _BATCH):
        for _ in range(_BATCH):
            send()
        between()
    return time.perf_counter() - start
