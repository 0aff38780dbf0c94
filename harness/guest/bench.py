"""What tracing and registering cost in this guest: samples for ``nfharness bench``."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from harness.guest.module import Hook, HookModule
from harness.guest.topology import Network, built
from harness.guest.tracing import tracer
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.types import NF_HOOK_SLOW
from harness.scenario.topology import PAIR
from harness.trace.capture import Capture

__all__ = ("main",)

_BATCH, _HOOKS, _PAIRS = 500, 8, 200
_ACCEPT, _STOLEN = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.STOLEN)
_PREROUTING, _INPUT, _OUTPUT = (hook_number(Family.IPV4, name) for name in ("PREROUTING", "INPUT", "OUTPUT"))
_TO = ("10.0.0.1", 9)
#: What anyone would write first: when nf_hook_slow() began, and a record of 128 bytes when it has returned, the packet's header in it.
_PAIR = """
#include <uapi/linux/ptrace.h>
struct begun { u64 time, skb, state; };
struct record { u64 time, skb, duration; int returned; u8 hook, pf, spare[34]; u8 head[64]; };
BPF_HASH(running, u64, struct begun, 4096);
BPF_RINGBUF_OUTPUT(records, 1024);

int begins(struct pt_regs *ctx)
{
    u64 task = bpf_get_current_pid_tgid();
    struct begun begun = { bpf_ktime_get_ns(), PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx) };

    running.update(&task, &begun);
    return 0;
}

int returns(struct pt_regs *ctx)
{
    u64 task = bpf_get_current_pid_tgid(), data;
    struct begun *begun = running.lookup(&task);
    struct record *record;

    if (!begun)
        return 0;
    record = records.ringbuf_reserve(sizeof(*record));
    if (record) {
        record->time = begun->time;
        record->duration = bpf_ktime_get_ns() - begun->time;
        record->skb = begun->skb;
        record->returned = PT_REGS_RC(ctx);
        bpf_probe_read_kernel(&record->hook, 2, (void *)begun->state);
        bpf_probe_read_kernel(&data, sizeof(data), (void *)(begun->skb + DATA));
        bpf_probe_read_kernel(record->head, sizeof(record->head), (void *)data);
        records.ringbuf_submit(record, 0);
    }
    running.delete(&task);
    return 0;
}
"""


def main(rounds: int, packets: int) -> None:
    """Print a JSON object: metric → *rounds* samples, in nanoseconds or a second's worth.

    :param packets: of a sample, a multiple of 500
    """
    samples: dict[str, list[float]] = {}
    with built(PAIR) as network, _Pair() as pair:
        for _ in range(rounds):
            for name, value in _round(network, packets, pair):
                samples.setdefault(name, []).append(value)
    print(json.dumps(samples))


def _round(network: Network, packets: int, pair: _Pair) -> Iterator[tuple[str, float]]:
    for hooks, what in ((1, "1_hook"), (_HOOKS, f"{_HOOKS}_hooks")):
        traced, reference = _costs(network, packets, hooks, pair)
        yield f"trace_ns_{what}", traced
        yield f"trace_to_pair_{what}", traced / reference
    yield from zip(("packets_per_s_untraced", "packets_per_s_traced"), _packets_per_second(network, packets), strict=True)
    yield "register_unregister_per_s", _registrations_per_second(network)


def _costs(network: Network, packets: int, hooks: int, pair: _Pair) -> tuple[float, float]:
    """Nanoseconds that tracing, drained meanwhile, and the pair of probes add to a packet that ends at OUTPUT after some hooks."""
    verdicts = [_ACCEPT] * (hooks - 1) + [_STOLEN]
    with (
        _hooked(network, "peer", [Hook(number, Family.IPV4, _OUTPUT, number, verdict) for number, verdict in enumerate(verdicts, 1)]),
        _sender(network) as send,
    ):
        untraced = _seconds(send, packets)
        with Capture(tracer()) as capture:
            traced = _seconds(send, packets, between=lambda: _emptied(capture))
        with pair.attached() as empty:
            paired = _seconds(send, packets, between=empty)
    return (traced - untraced) / packets * 1e9, (paired - untraced) / packets * 1e9


def _emptied(capture: Capture) -> None:
    capture.drain()
    capture.hand_over()


class _Pair:
    """A kprobe and a kretprobe at nf_hook_slow(), as BCC places them: what tracing is measured beside."""

    def __enter__(self) -> _Pair:
        import bcc  # noqa: PLC0415 - only a guest has it

        self._bpf = bcc.BPF(text=_PAIR, cflags=[f"-DDATA={tracer().layout.defines['SKB_DATA']}"])
        self._bpf["records"].open_ring_buffer(lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        self._bpf.cleanup()

    @contextmanager
    def attached(self) -> Iterator[Callable[[], None]]:
        """The probes placed.

        :returns: what empties the ring
        """
        self._bpf.attach_kprobe(event=NF_HOOK_SLOW, fn_name="begins")
        self._bpf.attach_kretprobe(event=NF_HOOK_SLOW, fn_name="returns")
        try:
            yield self._bpf.ring_buffer_consume
        finally:
            self._bpf.detach_kprobe(event=NF_HOOK_SLOW)
            self._bpf.detach_kretprobe(event=NF_HOOK_SLOW)


def _packets_per_second(network: Network, packets: int) -> tuple[float, float]:
    """Datagrams over a veth pair, through a hook that accepts and one that steals them; traced, the ring is emptied meanwhile."""
    hooks = [Hook(1, Family.IPV4, _PREROUTING, 0, _ACCEPT), Hook(2, Family.IPV4, _INPUT, 0, _STOLEN)]
    with _hooked(network, "host", hooks), _sender(network) as send:
        untraced = _seconds(send, 2 * packets)
        with Capture(tracer()) as capture:
            traced = _seconds(send, 2 * packets, between=lambda: _emptied(capture))
    return 2 * packets / untraced, 2 * packets / traced


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
