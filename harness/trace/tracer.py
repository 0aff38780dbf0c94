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
from harness.trace.btf import Btf
from harness.trace.kprobes import KprobeEvents
from harness.trace.layout import Layout
from harness.trace.probes import after_prologue, code_of, place
from harness.trace.symbols import Symbols

__all__ = ("Control", "Counter", "Tracer")

RING_BYTES = 4 << 20
_RECORDS = ("entry_event", "call_event", "exit_event", "end_event")
_PROGRAM = "nf_hook_slow.bpf.c"
_LOOP, _RELEASE = "nf_hook_slow", "skb_release_head_state"
_KPROBES = {"exit": "probe_exit", "call": "probe_call", "release": "probe_release", "entry": "probe_entry"}
_TRACEPOINTS = {"kfree_skb": "probe_kfree_skb", "consume_skb": "probe_consume_skb"}
_OWN_TEXT = Path("/sys/module/nfharness/sections/.text")


class Control(IntEnum):
    """Indices of the program's settings."""

    PHASE = 0
    OWN_HOOK = 1


class Counter(IntEnum):
    """Indices of the program's per-CPU counters (``N_*`` there).

    TRAVERSALS, CALLS and EXITS count what belongs to a traversal that was watched from its entry on; RAN_* how often each probe's
    program ran at all. LOST: records that found no room in the ring; UNMATCHED: probes that met no traversal; STALE: traversals
    whose exit was not seen; the FULL ones: no room in a hash.
    """

    TRAVERSALS = 0
    CALLS = 1
    EXITS = 2
    LOST = 3
    UNMATCHED = 4
    STALE = 5
    FRAMES_FULL = 6
    SKBS_FULL = 7
    RAN_ENTRY = 8
    RAN_CALL = 9
    RAN_EXIT = 10


class Tracer:
    """Programs, probes and symbols.

    :ivar bpf: ``bcc.BPF``; :ivar lib: ``libbcc``
    :ivar programs: kprobe event → file descriptor of its program, in the order of arming; :ivar raw: raw tracepoint → likewise
    :ivar lock: a file that a capture locks
    """

    def __init__(self) -> None:
        self.bpf: Any = None
        self.lib: Any = None
        self.programs: dict[str, int] = {}
        self.raw: dict[str, int] = {}
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
        self.layout = Layout.of(Btf.of_running_kernel())
        self.symbols = Symbols()
        address, code = code_of(self.symbols, _LOOP)
        placement = place(code, address, self.symbols.aliases)
        release = after_prologue(code_of(self.symbols, _RELEASE)[1])
        try:
            self.bpf = bcc.BPF(text=self._source(placement.depth))
            self.programs = {name: self.bpf.load_func(function, bcc.BPF.KPROBE).fd for name, function in _KPROBES.items()}
            self.raw = {name: self.bpf.load_func(function, bcc.BPF.RAW_TRACEPOINT).fd for name, function in _TRACEPOINTS.items()}
        except Exception as error:
            raise GuestError(f"the BPF program does not load: {error}", mend="needs root, CONFIG_BPF_SYSCALL=y, "
                             "CONFIG_BPF_EVENTS=y and the kernel's headers in /lib/modules/$(uname -r)/build") from error
        self.kprobes = KprobeEvents()
        self.kprobes.define({
            "entry": ((_LOOP, placement.entry),),
            "call": ((_LOOP, placement.after_call),),
            "exit": tuple((_LOOP, offset) for offset in placement.exits),
            "release": ((_RELEASE, release),),
        })
        # A capture takes a POSIX lock, which belongs to a process: forked children exclude each other though they share the file.
        self.lock = os.memfd_create("nfharness-capture", os.MFD_CLOEXEC)

    def _source(self, depth: int) -> str:
        constants = {
            **{f"N_{counter.name}": counter.value for counter in Counter},
            **{control.name: control.value for control in Control},
            "COUNTERS": len(Counter), "DEPTH": depth, "RING_PAGES": self.ring_bytes // os.sysconf("SC_PAGESIZE"),
        }
        defines = "".join(f"#define {name} {value}\n" for name, value in constants.items())
        program = resources.files("harness.trace").joinpath(_PROGRAM).read_text()
        for mark, text in (("RINGS", _rings(self.processors)), ("RESERVES", _reserves(self.processors))):
            program = program.replace(f"\n{mark}\n", f"\n{text}\n")
        return self.layout.preamble() + defines + program

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
