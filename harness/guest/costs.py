"""What tracing costs a packet in this guest, beside a pair of probes by BCC and beside probes that do nothing; what it keeps up with.

Only the quickest batches count: on a busy machine the others were interrupted. So figures are those of an idle one, as its clock has them.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from harness.guest.module import Hook, HookModule
from harness.guest.topology import Network
from harness.guest.tracing import tracer
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.types import NF_HOOK_SLOW
from harness.trace.capture import Capture, unoptimised
from harness.trace.tracer import Counter

__all__ = ("ACCEPT", "Bare", "ProbePair", "costs", "emptied", "kept_up_with", "two_hooks")

_HOOKS = 8
#: A batch is short enough to be interrupted seldom, and records are emptied every few of them.
_BATCH, _BATCHES, _EMPTIED = 10, 10, 10 * 10
#: Traversals a second that are asked for, the most first; how long they are kept up; how often records are taken, as the observer does.
_RATES, _LASTING_S, _TICK_S = (40_000, 20_000, 10_000, 5_000, 2_500, 1_000, 500), 1.0, 0.01
ACCEPT, _STOLEN = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.STOLEN)
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
_NOTHING = """
#include <uapi/linux/ptrace.h>

int nothing(struct pt_regs *ctx)
{
    return 0;
}
"""
#: The tracer's probes that a packet meets which ends in a hook of nf_hook_slow()'s.
_MET = ("exit", "call", "release", "entry")

#: Places probes while its context is open, and gives what empties their records.
Way = Callable[[], AbstractContextManager[Callable[[], None]]]


class ProbePair:
    """A kprobe and a kretprobe at nf_hook_slow(), as BCC places them."""

    def __enter__(self) -> ProbePair:
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


class Bare:
    """A program that does nothing, where the tracer's are: what is left is the cost of being probed there."""

    def __enter__(self) -> Bare:
        import bcc  # noqa: PLC0415 - only a guest has it

        self._bpf = bcc.BPF(text=_NOTHING)
        self._program = self._bpf.load_func("nothing", bcc.BPF.KPROBE)
        return self

    def __exit__(self, *_: object) -> None:
        self._bpf.cleanup()

    @contextmanager
    def attached(self) -> Iterator[Callable[[], None]]:
        """The probes placed.

        :returns: what does nothing: there are no records
        """
        loaded = tracer()
        with unoptimised(), ExitStack() as stack:
            for event in _MET:
                stack.callback(os.close, loaded.lib.bpf_attach_tracepoint(self._program.fd, loaded.kprobes.group.encode(), event.encode()))
            yield lambda: None


def costs(network: Network, packets: int, pair: ProbePair, bare: Bare) -> Iterator[tuple[str, float]]:
    """What is added to a packet that ends at OUTPUT, behind one hook and behind eight: metric → ns, or how many times the pair's.

    :param packets: of each sample
    """
    ways: dict[str, Way] = {"untraced": lambda: nullcontext(lambda: None), "traced": _captured, "pair": pair.attached,
                            "bare": bare.attached}
    traced: dict[int, float] = {}
    for hooks, what in ((1, "1_hook"), (_HOOKS, f"{_HOOKS}_hooks")):
        added = _added(network, packets, hooks, ways)
        traced[hooks] = added["traced"]
        yield f"trace_ns_{what}", added["traced"]
        yield f"trace_bare_ns_{what}", added["bare"]
        yield f"trace_to_pair_{what}", added["traced"] / added["pair"]
        if hooks == 1:
            yield "pair_ns", added["pair"]
    each = (traced[_HOOKS] - traced[1]) / (_HOOKS - 1)
    yield "trace_ns_each_hook", each
    yield "trace_ns_traversal", traced[1] - each


def _added(network: Network, packets: int, hooks: int, ways: dict[str, Way]) -> dict[str, float]:
    """Way → nanoseconds that it adds to a packet, its records emptied."""
    verdicts = [ACCEPT] * (hooks - 1) + [_STOLEN]
    found = {}
    with (
        _hooked(network, "peer", [Hook(number, Family.IPV4, _OUTPUT, number, verdict) for number, verdict in enumerate(verdicts, 1)]),
        _sender(network) as send,
    ):
        for name, way in ways.items():
            with way() as empty:
                found[name] = _quickest_ns(send, packets, empty)
    return {name: spent - found["untraced"] for name, spent in found.items()}


def _quickest_ns(send: Callable[[], object], packets: int, empty: Callable[[], None]) -> float:
    """Nanoseconds that a packet takes in the batch that is quicker than nine of ten, and its share of the quickest emptying."""
    for _ in range(_EMPTIED):
        send()
    empty()
    batches, emptyings = [], []
    for _ in range(max(1, packets // _EMPTIED)):
        for _ in range(_BATCHES):
            start = time.perf_counter_ns()
            for _ in range(_BATCH):
                send()
            batches.append((time.perf_counter_ns() - start) / _BATCH)
        start = time.perf_counter_ns()
        empty()
        emptyings.append((time.perf_counter_ns() - start) / _EMPTIED)
    return sorted(batches)[len(batches) // 10] + min(emptyings)


@contextmanager
def _captured() -> Iterator[Callable[[], None]]:
    with Capture(tracer()) as capture:
        yield lambda: emptied(capture)


def emptied(capture: Capture) -> None:
    """Take what a capture has, and let go of it."""
    capture.drain()
    capture.hand_over()


def kept_up_with(network: Network) -> float:
    """Traversals a second, the most of a row of rates that were traced without a loss while this process took the records; 0 for none."""
    with two_hooks(network) as send:
        for rate in _RATES:
            traversals, seconds, lost = _flooded(send, rate)
            if not lost:
                return traversals / seconds
    return 0.0


def _flooded(send: Callable[[], object], rate: int) -> tuple[int, float, int]:
    """Traversals that a child process caused, the seconds that it took, and how many records and probes were lost.

    :param rate: traversals a second that it tries to reach; a packet causes two
    """
    with Capture(tracer()) as capture:
        start = time.monotonic()
        child = os.fork()
        if not child:
            _flood(send, rate / 2)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(_TICK_S)
            emptied(capture)
        spent = time.monotonic() - start
    return capture.counters[Counter.TRAVERSALS], spent, capture.lost_events + bool(capture.doubts)


def _flood(send: Callable[[], object], rate: float) -> None:
    """Send for a second as many packets as are due, and end this process."""
    start, sent = time.monotonic(), 0
    while (gone := time.monotonic() - start) < _LASTING_S:
        while sent < gone * rate:
            send()
            sent += 1
        time.sleep(_TICK_S / 10)
    os._exit(0)


@contextmanager
def two_hooks(network: Network) -> Iterator[Callable[[], object]]:
    """Sends a datagram over a veth pair at each call, through a hook that accepts and one that steals it."""
    hooks = [Hook(1, Family.IPV4, _PREROUTING, 0, ACCEPT), Hook(2, Family.IPV4, _INPUT, 0, _STOLEN)]
    with _hooked(network, "host", hooks), _sender(network) as send:
        yield send


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
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    with sending:
        sending.connect(_TO)
        data = bytes(32)
        yield lambda: sending.send(data)
