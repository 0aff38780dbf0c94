"""A capture: the probes are armed while its context is open, and what they saw is there afterwards."""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from harness.errors import GuestError
from harness.trace.kprobes import Profile
from harness.trace.ring import Ring, Rings
from harness.trace.tracer import Control, Counter, Tracer
from harness.trace.witness import Witness
from harness.walks.events import Event, decode, in_order, lost_record
from harness.walks.framing import framed, records
from harness.walks.recording import Recording

__all__ = ("Capture", "doubts", "grace_period", "setting", "unoptimised")

_UNDER_WAY_S, _GLANCE_S = 0.1, 0.005
_OFF, _STARTING, _ON = range(3)
_SYS_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL = 324, 1
_EXPEDITED = (Path("/sys/kernel/rcu_expedited"), "1")
_OPTIMISE = (Path("/proc/sys/debug/kprobes-optimization"), "0")
_SENTENCES = {
    Counter.LOST: "{} records found no room in the ring buffer",
    Counter.UNMATCHED: "{} probes met no traversal that they belong to",
    Counter.STALE: "{} traversals were never seen to return",
    Counter.FRAMES_FULL: "{} traversals found no room in the table of those under way",
    Counter.MOVED: "{} calls were of another slot than counted",
    Counter.SKBS_FULL: "{} skbs found no room in the table of those alive",
}


class Capture:
    """Everything that hooks do while this context is open, in all namespaces.

    :param tracer: loaded; one capture at a time
    :param registrations: whether hooks that are registered and unregistered are told of, too, where they can be seen
    :ivar doubts: why what was seen may not be all there was; set by :meth:`end`, and when the context closes
    :ivar counters: the programs' own; set at the same moments
    """

    def __init__(self, tracer: Tracer, *, registrations: bool = False) -> None:
        if tracer.bpf is None:
            raise GuestError("the tracer is not loaded", hint="call Tracer.load() first")
        self._tracer = tracer
        self._unarmed = frozenset(() if registrations else tracer.registrations)
        self._taken: list[bytes] = []
        self._events: list[Event] = []
        self._undo = ExitStack()
        #: When the rings were read last (``CLOCK_MONOTONIC``, ns), and how many records had found no room there before.
        self._read, self._lost = 0, 0
        #: Traversals whose exits were lost before: as many more entries than exits there are while nothing is under way.
        self._unpaired = 0
        self.counters: dict[Counter, int] = dict.fromkeys(Counter, 0)
        self.doubts: tuple[str, ...] = ()

    def __enter__(self) -> Capture:
        tracer = self._tracer
        with ExitStack() as stack:
            stack.enter_context(_locked(tracer.lock))
            self._witness = Witness(tracer.symbols)
            stack.callback(self._witness.close)
            stack.enter_context(unoptimised())
            for table in ("frames", "skbs", "copying", "offered", "again", "requests", "queueing", "evaluations", "decisions",
                          "outer_decisions", "table_calls", "table_rules", "registrations"):
                tracer.bpf[table].clear()
            before, _ = self._books()
            self._unpaired = before[Counter.TRAVERSALS] - before[Counter.EXITS]
            self._rings = Rings(tracer.ring_descriptors(), tracer.ring_bytes)
            stack.callback(self._rings.close)
            self._changes = Ring(tracer.module_descriptor(), tracer.module_ring_bytes)
            stack.callback(self._changes.close)
            self.begin()
            self._control(Control.OWN_HOOK, tracer.own_hook())
            self._control(Control.CT_ID_KEY, tracer.id_key.address())
            with setting(*_EXPEDITED):
                self._arm(stack)
                self._set_off()
                stack.callback(self._control, Control.PHASE, _OFF)
                self._control(Control.PHASE, _STARTING)
                grace_period()
            self._control(Control.PHASE, _ON)
            # What came before the probes were armed; what comes from now on, its tracepoint says.
            tracer.modules.look(time.monotonic_ns())
            tracer.find_chained()
            self._undo = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with setting(*_EXPEDITED), self._undo:
            self._control(Control.PHASE, _OFF)
            grace_period()
            self.end()

    def begin(self) -> None:
        """Forget what was seen so far; the books are about what comes from now on."""
        self.drain()
        self._unfinished()
        self._taken, self._events = [], []
        self._witness.begin()
        for _ in _glances():
            (self._before, self._ran), self._profile = self._books(), self._tracer.kprobes.profile()
            paired = self._before[Counter.TRAVERSALS] - self._before[Counter.EXITS] == self._unpaired
            if paired and self._books() == (self._before, self._ran):
                return

    def end(self) -> None:
        """Take what the kernel has, and balance the books. What others have under way gets a moment to come to its end."""
        for _ in _glances():
            self.drain()
            self._unfinished()
            (after, ran), profile = self._books(), self._tracer.kprobes.profile()
            self.counters = {counter: after[counter] - self._before[counter] for counter in Counter}
            books = doubts(self.counters, {name: runs - self._ran[name] for name, runs in ran.items()},
                           {name: Profile(profile[name].hits - old.hits, profile[name].missed - old.missed)
                            for name, old in self._profile.items()})
            self.doubts = (*self._witness.doubts(), *books)
            if not self.doubts:
                return
        self._unpaired = after[Counter.TRAVERSALS] - after[Counter.EXITS]

    def drain(self, seconds: float = 0) -> bool:
        """Take what the kernel has so far. Call it now and then while much goes on: the ring holds some 6,000 traversals.

        :param seconds: to wait for a first record
        :returns: whether there was anything
        """
        if seconds:
            self._rings.wait(seconds)
        if changes := self._changes.take():
            self._tracer.modules.changed(records(changes))
            self._tracer.find_chained()
            self._control(Control.CT_ID_KEY, self._tracer.id_key.address())
        taken = self._rings.take(self._unfinished)
        if taken:
            self._taken.append(taken)
        return bool(taken)

    def _heed_losses(self, lost: int) -> None:
        """Put a record of those that found no room among the others, so that what was under way meanwhile can be told.

        :param lost: how many there were so far
        """
        now = time.monotonic_ns()
        if lost > self._lost:
            self._taken.append(framed(lost_record(self._read, now, lost - self._lost)))
        self._read, self._lost = now, lost

    def hand_over(self) -> bytes:
        """What was drained since the last call, for :func:`harness.walks.framing.records`; :meth:`events` does not see it then."""
        taken, self._taken = b"".join(self._taken), []
        return taken

    @property
    def ring_descriptors(self) -> list[int]:
        """Descriptors of the rings; each is readable when there are records to drain."""
        return self._tracer.ring_descriptors()

    @property
    def module_descriptor(self) -> int:
        """Readable when a module has come or gone: then :meth:`drain` soon, while its symbols are there."""
        return self._changes.fd

    @property
    def lost_events(self) -> int:
        """Records that did not fit, and probes or traversals that could not be matched."""
        return sum(self.counters[counter] for counter in _SENTENCES)

    def events(self) -> Sequence[Event]:
        """What was taken so far, in order."""
        self._decoded()
        self._events = in_order(self._events)
        return self._events

    def fresh(self, seconds: float = 0) -> Sequence[Event]:
        """What :meth:`drain` finds now, in order; :meth:`events` has it too."""
        self.drain(seconds)
        return self._decoded()

    def _decoded(self) -> list[Event]:
        """What was taken and not decoded yet. It may be older than what was: each processor has its own ring."""
        found = decode(record for taken in self._taken for record in records(taken))
        self._taken = []
        self._events += found
        return found

    def recording(self, *, namespaces: Sequence[tuple[int, int, str]] = (), labels: Mapping[int, str] | None = None,
                  until: int | None = None) -> Recording:
        """What was seen so far, with this kernel's names.

        :param namespaces: as :class:`harness.walks.recording.Recording` has them
        :param labels: names of hooks, as :class:`harness.walks.recording.Recording` has them
        :param until: leave out what came later (``CLOCK_MONOTONIC``, ns)
        """
        tracer, events = self._tracer, self.events()
        return Recording(events if until is None else [event for event in events if event.time <= until], tracer.modules.function,
                         tracer.loops, tracer.layout.drop_reasons, tracer.modules.frees, namespaces, labels or {}, tracer.blind,
                         self.lost_events, self.doubts, tells=tracer.tells,
                         sees_registrations=bool(tracer.registrations) and not self._unarmed)

    def _arm(self, stack: ExitStack) -> None:
        tracer = self._tracer
        group = tracer.kprobes.group.encode()
        for name, program in tracer.programs.items():
            if name in self._unarmed:
                continue
            stack.callback(os.close, _opened(tracer.lib.bpf_attach_tracepoint(program, group, name.encode()), name))
        for name, program in tracer.raw.items():
            stack.callback(os.close, _opened(tracer.lib.bpf_attach_raw_tracepoint(program, name.encode()), name))

    def _set_off(self) -> None:
        """Take what the probes hit before they had their programs off the books: perf arms a probe first (``perf_trace_init``)."""
        unsettled = set(self._ran)
        for _ in _glances():
            (_, earlier), profile, (_, ran) = self._books(), self._tracer.kprobes.profile(), self._books()
            for name in [name for name in unsettled if earlier[name] == ran[name]]:
                old, seen = self._profile[name], ran[name] - self._ran[name]
                self._profile[name] = old._replace(hits=max(old.hits, profile[name].hits - seen))
                unsettled.discard(name)
            if not unsettled:
                return

    def _control(self, what: Control, value: int) -> None:
        self._tracer.bpf["control"][what] = value

    def _unfinished(self) -> list[int]:
        """How many records each processor has reserved and not submitted; how many were lost is heeded."""
        found = self._tracer.bpf["writing"].per_processor(0)
        self._heed_losses(sum(lost for _, lost in found))
        return [count for count, _ in found]

    def _books(self) -> tuple[dict[Counter, int], dict[str, int]]:
        """The counters, and how often each probe's program ran, both summed over all processors."""
        books = [sum(own) for own in zip(*self._tracer.bpf["books"].per_processor(0), strict=True)]
        ran = books[len(Counter):]
        return {counter: books[counter] for counter in Counter}, dict(zip(self._tracer.counted, ran, strict=False))


def doubts(counters: Mapping[Counter, int], ran: Mapping[str, int], profile: Mapping[str, Profile]) -> tuple[str, ...]:
    """Why a capture may have missed something; empty if everything balances.

    :param ran: kprobe event → how often its program ran during the capture
    :param profile: kprobe event → its hits and misses
    """
    found = [sentence.format(counters[counter]) for counter, sentence in _SENTENCES.items() if counters[counter]]
    if counters[Counter.TRAVERSALS] != counters[Counter.EXITS]:
        found.append(f"{counters[Counter.TRAVERSALS]} traversals were entered and {counters[Counter.EXITS]} left")
    for name, runs in ran.items():
        if profile[name].missed or profile[name].hits != runs:
            found.append(f"probe {name}: {profile[name].hits} hits, {profile[name].missed} missed, {runs} seen by the program")
    return tuple(found)


def _glances() -> Iterator[None]:
    """Poll: yield now, then every ``_GLANCE_S`` for ``_UNDER_WAY_S``: softirqs in flight take no longer."""
    deadline = time.monotonic() + _UNDER_WAY_S
    yield
    while time.monotonic() < deadline:
        time.sleep(_GLANCE_S)
        yield


def _opened(fd: int, name: str) -> int:
    if fd < 0:
        raise GuestError(f"the kernel does not let the probe {name} be attached: {os.strerror(-fd)}",
                         hint="see the kernel's log; the probes need CAP_SYS_ADMIN and tracefs")
    return fd


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise GuestError("another capture is under way in this kernel", hint="wait until it is over") from error
    try:
        yield
    finally:
        fcntl.lockf(fd, fcntl.LOCK_UN)


def unoptimised() -> AbstractContextManager[None]:
    """No probe is optimised meanwhile: those run with interrupts on, where a softirq's own are missed; and disarming one takes 100 ms."""
    return setting(*_OPTIMISE)


@contextmanager
def setting(path: Path, value: str) -> Iterator[None]:
    """Change a setting of the kernel for a while; one that it does not have is left out."""
    if not path.exists():
        yield
        return
    before = path.read_text()
    path.write_text(value)
    try:
        yield
    finally:
        path.write_text(before)


def grace_period() -> None:
    """Wait until every traversal that is under way has returned: the verdict loop runs inside ``rcu_read_lock()``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SYS_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL, 0, 0):
        raise GuestError(f"membarrier(): {os.strerror(ctypes.get_errno())}",
                         hint="boot without nohz_full=, on a kernel with CONFIG_MEMBARRIER=y")
