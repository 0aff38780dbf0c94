"""What tracing and registering cost in this guest: samples for ``nfharness bench``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from harness.guest.costs import ACCEPT, Bare, ProbePair, costs, emptied, kept_up_with, two_hooks
from harness.guest.module import Hook, HookModule
from harness.guest.topology import Network, built
from harness.guest.tracing import tracer
from harness.netfilter import Family, hook_number
from harness.scenario.topology import PAIR
from harness.trace.capture import Capture

__all__ = ("main",)

_BATCH, _PAIRS = 500, 200
_INPUT = hook_number(Family.IPV4, "INPUT")


def main(rounds: int, packets: int) -> None:
    """Print a JSON object: metric → *rounds* samples, in nanoseconds or a second's worth.

    :param packets: of a sample, a multiple of 500
    """
    samples: dict[str, list[float]] = {}
    with built(PAIR) as network, ProbePair() as pair, Bare() as bare:
        for _ in range(rounds):
            for name, value in _round(network, packets, pair, bare):
                samples.setdefault(name, []).append(value)
    print(json.dumps(samples))


def _round(network: Network, packets: int, pair: ProbePair, bare: Bare) -> Iterator[tuple[str, float]]:
    yield from costs(network, packets, pair, bare)
    yield "traversals_per_s_without_loss", kept_up_with(network)
    yield from zip(("packets_per_s_untraced", "packets_per_s_traced"), _packets_per_second(network, packets), strict=True)
    yield "register_unregister_per_s", _registrations_per_second(network)


def _packets_per_second(network: Network, packets: int) -> tuple[float, float]:
    """Datagrams over a veth pair, through a hook that accepts and one that steals them; traced, the ring is emptied meanwhile."""
    with two_hooks(network) as send:
        untraced = _seconds(send, 2 * packets)
        with Capture(tracer()) as capture:
            traced = _seconds(send, 2 * packets, between=lambda: emptied(capture))
    return 2 * packets / untraced, 2 * packets / traced


def _registrations_per_second(network: Network) -> float:
    """Pairs of register and unregister at a point that keeps a hook, so that no static key flips; each a netlink request."""
    with HookModule(network.namespaces["host"]) as module:
        module.add_hook(Hook(1, Family.IPV4, _INPUT, 0, ACCEPT))
        start = time.perf_counter()
        for _ in range(_PAIRS):
            module.add_hook(Hook(2, Family.IPV4, _INPUT, 0, ACCEPT))
            module.del_hook(2)
        spent = time.perf_counter() - start
        module.flush()
    return _PAIRS / spent


def _seconds(send: Callable[[], object], count: int, between: Callable[[], None] = lambda: None) -> float:
    """Seconds for *count* packets, after some more that warm up whatever can be.

    :param between: called after each batch
    """
    for _ in range(_BATCH // 5):
        send()
    between()
    start = time.perf_counter()
    for _ in range(count // _BATCH):
        for _ in range(_BATCH):
            send()
        between()
    return time.perf_counter() - start
