"""The tracer of hook calls, loaded: compiled, placed and defined; a :class:`harness.trace.capture.Capture` arms it.

Loading takes seconds in an emulated guest, and is done once by the process that a template holds ready; captures may run in its
forked children. A loaded tracer outlives the code that uses it (newer code is pushed when a VM starts), so it has public state and
little else.
"""

from __future__ import annotations

import os
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import GuestError
from harness.outcome.types import NF_HOOK_SLOW
from harness.trace.btf import Btf
from harness.trace.kprobes import KprobeEvents
from harness.trace.layout import Layout
from harness.trace.loops import LOCATORS, Located
from harness.trace.probes import Placement, after_prologue, code_of, place, read_kernel
from harness.trace.symbols import Symbols

__all__ = ("Control", "Counter", "Tracer")

RING_BYTES = 4 << 20
_RECORDS = ("entry_event", "call_event", "exit_event", "end_event")
_PROGRAMS = ("records.bpf.c", "skb.bpf.c", "nf_hook_slow.bpf.c", "inlined.bpf.c", "reinject.bpf.c")
_RELEASE = "skb_release_head_state"
_TRACEPOINTS = {"kfree_skb": "probe_kfree_skb", "consume_skb": "probe_consume_skb"}
_OWN_TEXT = Path("/sys/module/nfharness/sections/.text")


class Control(IntEnum):
    """Indices of the program's settings."""

    PHASE = 0
    OWN_HOOK = 1


class Counter(IntEnum):
    """Indices of the program's per-CPU counters (``N_*`` there).

    TRAVERSALS, CALLS and EXITS count what belongs to a traversal that was watched from its entry on. LOST: records that found no
    room in the ring; UNMATCHED: probes that met no traversal; STALE: traversals whose exit was not seen; MOVED: calls whose slot was
    another one than counted; the FULL ones: no room in a hash.
    """

    TRAVERSALS = 0
    CALLS = 1
    EXITS = 2
    LOST = 3
    UNMATCHED = 4
    STALE = 5
    FRAMES_FULL = 6
    SKBS_FULL = 7
    MOVED = 8


class Tracer:
    """Programs, probes and symbols.

    :ivar bpf: ``bcc.BPF``; :ivar lib: ``libbcc``
    :ivar programs: kprobe event → file descriptor of its program, in the order of arming; :ivar raw: raw tracepoint → likewise
    :ivar counted: kprobe events whose programs count how often they ran, by their index in ``ran`` of the books
    :ivar others: the loops besides nf_hook_slow that were found, by name; :ivar blind: of those that were not, why their calls are not seen
    :ivar lock: a file that a capture locks
    """

    def __init__(self) -> None:
        self.bpf: Any = None
        self.lib: Any = None
        self.programs: dict[str, int] = {}
        self.raw: dict[str, int] = {}
        self.counted: tuple[str, ...] = ()
        self.others: dict[str, Located] = {}
        self.blind: dict[str, str] = {}
        self.kprobes: KprobeEvents
        self.layout: Layout
        self.symbols: Symbols
        self.ring_bytes = RING_BYTES
        self.processors = os.sysconf("SC_NPROCESSORS_CONF")
        self.lock = -1
        self._own_offset: int | None = None

    def load(self) -> None:
        """Compile and verify the programs and place the probes; nothing is armed yet.

        :raises GuestError: the kernel lacks BTF, kprobes or BPF, or its ``nf_hook_slow`` cannot be probed
        """
        if (machine := os.uname().machine) != "x86_64":
            raise GuestError(f"no tracing on {machine}: the probes are placed by reading x86-64 code", mend="run on x86-64")
        try:
            import bcc  # noqa: PLC0415
        except ImportError as error:
            raise GuestError(f"BCC is missing: {error}", mend="apt-get install python3-bpfcc") from error
        self.lib = bcc.lib
        btf = Btf.of_running_kernel()
        self.layout = Layout.of(btf)
        self.symbols = Symbols()
        address, code = code_of(self.symbols, NF_HOOK_SLOW)
        slow = place(code, address, self.symbols.aliases)
        for name, locate in LOCATORS.items():
            try:
                self.others[name] = locate(self.symbols, btf)
            except GuestError as error:
                self.blind[name] = error.message
        release = after_prologue(code_of(self.symbols, _RELEASE)[1])
        events = {
            **{name: places for loop in self.others.values() for name, places in loop.events().items()},
            "exit": tuple((NF_HOOK_SLOW, offset) for offset in slow.exits),
            "call": tuple((NF_HOOK_SLOW, after) for _, after in slow.calls),
            "release": ((_RELEASE, release),),
            "entry": ((NF_HOOK_SLOW, slow.entry),),
        }
        self.counted = tuple(name for name in events if name != "release")
        try:
            self.bpf = bcc.BPF(text=self._source(slow))
            self.programs = {name: self.bpf.load_func(f"probe_{name}", bcc.BPF.KPROBE).fd for name in events}
            self.raw = {name: self.bpf.load_func(function, bcc.BPF.RAW_TRACEPOINT).fd for name, function in _TRACEPOINTS.items()}
        except Exception as error:
            raise GuestError(f"the BPF program does not load: {error}", mend="needs root, CONFIG_BPF_SYSCALL=y, "
                             "CONFIG_BPF_EVENTS=y and the kernel's headers in /lib/modules/$(uname -r)/build") from error
        self.kprobes = KprobeEvents()
        self.kprobes.define(events)
        # A capture takes a POSIX lock, which belongs to a process: forked children exclude each other though they share the file.
        self.lock = os.memfd_create("nfharness-capture", os.MFD_CLOEXEC)

    def _source(self, slow: Placement) -> str:
        constants = {
            **{f"N_{counter.name}": counter.value for counter in Counter},
            **{f"RAN_{name.upper()}": number for number, name in enumerate(self.counted)},
            **{control.name: control.value for control in Control},
            "COUNTERS": len(Counter), "PROBES": len(self.counted), "DEPTH": slow.depth,
            "RING_PAGES": self.ring_bytes // os.sysconf("SC_PAGESIZE"), "PAGE_BYTES": os.sysconf("SC_PAGESIZE"),
            "VMEMMAP": f"{self._variable('vmemmap_base'):#x}UL", "DIRECT_MAP": f"{self._variable('page_offset_base'):#x}UL",
        }
        defines = "".join(f"#define {name} {value}\n" for name, value in constants.items())
        program = "".join(resources.files("harness.trace").joinpath(name).read_text() for name in _PROGRAMS)
        for mark, text in (("RINGS", _rings(self.processors)), ("RESERVES", _reserves(self.processors))):
            program = program.replace(f"\n{mark}\n", f"\n{text}\n")
        loops = "\n".join(loop.programs(number) for number, loop in enumerate(self.others.values(), 1))
        return f"{self.layout.preamble()}{defines}{program}\n{loops}"

    def _variable(self, name: str) -> int:
        """An ``unsigned long`` of the kernel's. 0 where it has none: then the end of an skb in pages cannot be read."""
        try:
            return int.from_bytes(read_kernel(self.symbols.one(name).address, 8), "little")
        except GuestError:
            return 0

    @property
    def loops(self) -> tuple[str, ...]:
        """Names of the loops, by their number in the records."""
        return NF_HOOK_SLOW, *self.others

    def ring_descriptors(self) -> list[int]:
        """Of each processor's ring buffer map."""
        return [self.bpf[f"events{number}"].map_fd for number in range(self.processors)]

    def close(self) -> None:
        """Take the probes' definitions out of the kernel."""
        if self.bpf is not None:
            self.kprobes.remove()
            self.bpf.cleanup()
            os.close(self.lock)
            self.bpf = None

    def own_hook(self) -> int:
        """Address of nfharness.ko's hook function, 0 while it is not loaded. One attribute tells where it was loaded this time."""
        try:
            text = int(_OWN_TEXT.read_text(), 16)
        except OSError:
            return 0
        if self._own_offset is None:
            self.symbols.refresh()
            self._own_offset = self.symbols.one("nfharness_hook", "nfharness").address - text
        return text + self._own_offset


def _rings(processors: int) -> str:
    return "".join(f"BPF_RINGBUF_OUTPUT(events{number}, RING_PAGES);\n" for number in range(processors))


def _reserves(processors: int) -> str:
    """For each kind of record the function that reserves one in the running processor's ring. BCC rewrites no macro's body."""
    functions = []
    for record in _RECORDS:
        reserve = f"ringbuf_reserve(sizeof(struct {record}))"
        cases = "".join(f"\tcase {number}: return events{number}.{reserve};\n" for number in range(processors))
        head = f"static __always_inline struct {record} *reserve_{record}(void)"
        functions.append(f"{head}\n{{\n\tswitch (bpf_get_smp_processor_id()) {{\n{cases}\t}}\n\treturn 0;\n}}\n")
    return "\n".join(functions)
