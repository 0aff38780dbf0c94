"""The tracer of hook calls, loaded: placed, compiled and defined; a :class:`harness.trace.capture.Capture` arms it.

Placing the probes takes seconds in an emulated guest, and is done once by the process that a template holds ready, for which the host
compiles the programs; captures may run in its forked children. A loaded tracer outlives the code that uses it (newer code is pushed when
a VM starts), so it has public state and little else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import GuestError
from harness.outcome.types import NF_HOOK_SLOW, NF_HOOK_SLOW_LIST
from harness.trace import registrations, turns
from harness.trace.btf import Btf
from harness.trace.bytecode import KPROBE, RAW_TRACEPOINT, Programs, compiled, library
from harness.trace.chains import BLOBS, CHAIN_OFFSETS, CHAINED, chain_layout
from harness.trace.connections import IdKey, provoke
from harness.trace.emulated import ARGUMENTS, VERDICT, Spot, emulates_jumps, spot
from harness.trace.kprobes import KprobeEvents
from harness.trace.layout import Layout
from harness.trace.loops import LOCATORS, Located, listed
from harness.trace.modules import ModuleReader, Modules
from harness.trace.probes import KernelMemory, after_prologue, code_of, depth_at, place, read_kernel
from harness.trace.rules import Rules, rules_of
from harness.trace.symbols import Symbols
from harness.trace.tables import Tables, tables_of
from harness.walks.events import NAME_BYTES, TABLE_NAME_BYTES, Came

__all__ = ("Control", "Counter", "Tracer")

RING_BYTES = 4 << 20
_RECORDS = ("entry_event", "call_event", "chain_event", "change_event", "exit_event", "end_event", "turn_event", "gone_event", "slot_event",
            "hook_event", "rule_event")
_PROGRAMS = ("records.bpf.c", "connections.bpf.c", "skb.bpf.c", "turns.bpf.c", "rules.bpf.c", "tables.bpf.c", "nf_hook_slow.bpf.c",
             "inlined.bpf.c", "reinject.bpf.c", "nat.bpf.c", "registrations.bpf.c", "modules.bpf.c")
#: Called with what it releases.
_RELEASE, _RELEASED = "skb_release_head_state", {"di": 64}
_FREES = "__kfree_skb"
_TRACEPOINTS = {"kfree_skb": "probe_kfree_skb", "consume_skb": "probe_consume_skb", "net_dev_start_xmit": "probe_net_dev_start_xmit"}
_MODULE_TRACEPOINTS = {"module_load": "probe_module_load", "module_free": "probe_module_free"}
_MODULE_RING_BYTES = 32 << 10
_ASKS_FOR_IDS = "nft_ct_get_eval"
#: Calls BPF programs that are hooks; static keys of points.
_RUNS_PROGRAMS, _KEYS, _PROGRAM_NAME_BYTES = "nf_hook_run_bpf", "nf_hooks_needed", 16
_OWN_TEXT = Path("/sys/module/nfharness/sections/.text")


class Control(IntEnum):
    """Indices of the program's settings."""

    PHASE = 0
    OWN_HOOK = 1
    CT_ID_KEY = 2


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

    :ivar bpf: programs and tables, once they are loaded: :class:`harness.trace.bytecode.Programs`
    :ivar lib: ``libbcc_bpf``
    :ivar source: of the programs, once the probes have their places
    :ivar programs: kprobe event → file descriptor of its program, in the order of arming
    :ivar raw: raw tracepoint → file descriptor, too
    :ivar tells: what of packets between hook points would be told of if it happened
    :ivar counted: kprobe events whose programs count how often they ran, by their index in ``ran`` of the books
    :ivar others: the loops besides nf_hook_slow that were found, by name
    :ivar blind: of those that were not, why their calls are not seen
    :ivar unnamed: why base chains of nftables' have no names, if so
    :ivar undecided: why their rules have none
    :ivar unregistered: why registrations of hooks are not seen, if so
    :ivar registrations: kprobe events that are armed for a capture of registrations alone
    :ivar lock: a file that a capture locks
    """

    def __init__(self) -> None:
        self.bpf: Any = None
        self.lib: Any = None
        self.source = ""
        self.programs: dict[str, int] = {}
        self.raw: dict[str, int] = {}
        self.tells: tuple[Came, ...] = ()
        self.counted: tuple[str, ...] = ()
        self.others: dict[str, Located] = {}
        self.blind: dict[str, str] = {}
        self.unnamed: str | None = None
        self.undecided: str | None = None
        self.unregistered: str | None = None
        self.registrations: tuple[str, ...] = ()
        self.rules: Rules | None = None
        self.tables: Tables
        self.kprobes: KprobeEvents
        self.layout: Layout
        self.symbols: Symbols
        self.id_key: IdKey
        self.modules: Modules
        self.ring_bytes, self.module_ring_bytes = RING_BYTES, _MODULE_RING_BYTES
        self.processors = os.sysconf("SC_NPROCESSORS_CONF")
        self.lock = -1
        self._events: dict[str, tuple[tuple[str, int], ...]] = {}
        self._tracepoints: dict[str, str] = {}
        self._own_offset: int | None = None
        self._emulates_jumps = False
        self._chained: set[int] = set()
        self._chained_at = -1

    def place(self) -> None:
        """Find the places of the probes, and with them the programs' source.

        :raises GuestError: BCC is missing, the kernel lacks BTF, or its ``nf_hook_slow`` cannot be probed
        """
        if (machine := os.uname().machine) != "x86_64":
            raise GuestError(f"no tracing on {machine}: the probes are placed by reading x86-64 code", hint="run on x86-64")
        self.lib = library()
        btf = Btf.of_running_kernel()
        self.layout = Layout.of(btf)
        self.symbols = Symbols()
        self.id_key = IdKey(self.symbols)
        self._emulates_jumps = emulates_jumps(self.symbols)
        if self.id_key.address() and self.symbols.named(_ASKS_FOR_IDS):  # a rule of nftables' would have the modules loaded
            provoke()
        has_modules = btf.tracepoint_arguments("module_load") > 0
        self.modules = Modules(self.symbols, ModuleReader(self.symbols, btf) if has_modules else None)
        self.modules.look(time.monotonic_ns())
        address, code = code_of(self.symbols, NF_HOOK_SLOW)
        slow = place(code, address, self.symbols.aliases)
        for name, locate in LOCATORS.items():
            try:
                self.others[name] = locate(self.symbols, btf)
            except GuestError as error:
                self.blind[name] = error.message
        self._names_chains()
        self._names_rules()
        self.tables = tables_of(self.symbols)
        if why := listed(self.symbols):
            self.blind[NF_HOOK_SLOW_LIST] = why
        between = turns.turns_of(self.symbols)
        self.tells = between.tells
        release_code = code_of(self.symbols, _RELEASE)[1]
        release = self._spot(release_code, after_prologue(release_code), _RELEASED)
        entry, after = self._spot(code, slow.entry, ARGUMENTS), self._spot(code, slow.calls[0][1], VERDICT)
        events: dict[str, tuple[tuple[str, int], ...]] = {
            **between.events,
            **{name: places for loop in self.others.values() for name, places in loop.events().items()},
            **(self.rules.events() if self.rules else {}),
            **self.tables.events(),
            "exit": tuple((NF_HOOK_SLOW, offset) for offset in slow.exits),
            "call": ((NF_HOOK_SLOW, after.offset),),
            "release": ((_RELEASE, release.offset),),
            "entry": ((NF_HOOK_SLOW, entry.offset),),
            **self._registrations(),
        }
        self.counted = tuple(name for name in events if name != "release")
        self._events, self._tracepoints = events, {**_TRACEPOINTS, **(_MODULE_TRACEPOINTS if has_modules else {})}
        self.source = self._source(slow.depth, entry, after, release, between.queue_depth)

    def load(self, code: dict[str, Any] | None = None) -> None:
        """Have the programs verified and define the probes, which have their places; nothing is armed yet.

        :param code: :attr:`source` compiled, as :func:`harness.trace.bytecode.compiled` returns it; by default it is compiled here
        :raises GuestError: the kernel lacks kprobes or BPF, or this machine its headers
        """
        self.bpf = Programs(compiled(self.source) if code is None else code)
        self.programs = {name: self.bpf.load(f"probe_{name}", KPROBE) for name in self._events}
        self.raw = {name: self.bpf.load(function, RAW_TRACEPOINT) for name, function in self._tracepoints.items()}
        self.find_chained()
        self.kprobes = KprobeEvents()
        self.kprobes.define(self._events)
        # A capture takes a POSIX lock, which belongs to a process: forked children exclude each other though they share the file.
        self.lock = os.memfd_create("nfharness-capture", os.MFD_CLOEXEC)

    def _registrations(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Where hooks are registered and unregistered; nothing where that cannot be probed."""
        try:
            places = registrations.registrations_of(self.symbols)
        except GuestError as error:
            self.unregistered = error.message
            return {}
        self.registrations = tuple(places)
        return places

    def _spot(self, code: bytes, place: int, wanted: Mapping[str, int]) -> Spot:
        """What :func:`harness.trace.emulated.spot` finds, or the place itself where that would cost no less."""
        return spot(code, place, wanted) if self._emulates_jumps else Spot(place, {name: name for name in wanted})

    def _source(self, depth: int, entry: Spot, after: Spot, release: Spot, queue_depth: int) -> str:
        """The programs.

        :param depth: bytes of stack in use behind the call of a hook, above it
        :param entry: the probe that sees a traversal begin
        :param after: that sees a hook return
        :param release: that sees an skb go
        :param queue_depth: as of :class:`harness.trace.turns.Turns`
        """
        constants = {
            **{f"RAN_{name.upper()}": 0 for name in (*turns.EVENTS, *registrations.EVENTS)},
            **{f"N_{counter.name}": counter.value for counter in Counter},
            **{f"RAN_{name.upper()}": number for number, name in enumerate(self.counted)},
            **{control.name: control.value for control in Control},
            "COUNTERS": len(Counter), "PROBES": len(self.counted),
            "DEPTH": depth + after.depth, "VERDICT": after.registers["ax"],
            "ENTRY_DEPTH": entry.depth, "ENTRY_SKB": entry.registers["di"], "ENTRY_STATE": entry.registers["si"],
            "ENTRY_ARRAY": entry.registers["dx"], "ENTRY_INDEX": entry.registers["cx"],
            "RELEASE_SKB": release.registers["di"], "RELEASE_DEPTH": release.depth,
            "QUEUE_DEPTH": queue_depth,
            "RING_PAGES": self.ring_bytes // os.sysconf("SC_PAGESIZE"), "PAGE_BYTES": os.sysconf("SC_PAGESIZE"),
            "NAME_BYTES": NAME_BYTES, "TABLE_NAME_BYTES": TABLE_NAME_BYTES,
            "HAS_CHAINS": int(self.unnamed is None), "HAS_RULES": int(self.rules is not None),
            "MODULE_PAGES": self.module_ring_bytes // os.sysconf("SC_PAGESIZE"),
            **self._freeing(), "CONTROLS": len(Control),
            "ICMP_GETFRAG": f"{turns.getfrag(self.symbols, 'reply'):#x}UL",
            "ICMPV6_GETFRAG": f"{turns.getfrag(self.symbols, 'reply6'):#x}UL",
            "HOOKS_NEEDED": self._address(_KEYS),
            "RUN_BPF": self._address(_RUNS_PROGRAMS) if self.layout.defines["HAS_PROGRAMS"] else 0, "AUX_NAME_BYTES": _PROGRAM_NAME_BYTES,
            "VMEMMAP": f"{self._variable('vmemmap_base'):#x}UL", "DIRECT_MAP": f"{self._variable('page_offset_base'):#x}UL",
        }
        defines = "".join(f"#define {name} {value}\n" for name, value in constants.items())
        program = "".join(resources.files("harness.trace").joinpath(name).read_text() for name in _PROGRAMS)
        for mark, text in (("RINGS", _rings(self.processors)), ("RESERVES", _reserves(self.processors))):
            program = program.replace(f"\n{mark}\n", f"\n{text}\n")
        loops = "\n".join(loop.programs(number) for number, loop in enumerate(self.others.values(), 1))
        rules = self.rules.programs() if self.rules else ""
        return f"{self.layout.preamble()}{defines}{program}\n{loops}\n{rules}\n{self.tables.programs()}"

    def _freeing(self) -> dict[str, Any]:
        """Where the function is that frees an skb, and what it has on its stack then; no place where it calls others for that."""
        try:
            address, code = code_of(self.symbols, _FREES)
            return {"KFREE": f"{address:#x}UL", "KFREE_BYTES": len(code),
                    "KFREE_DEPTH": depth_at(code, address, self.symbols.one(_RELEASE).address)}
        except GuestError:
            return {"KFREE": 0, "KFREE_BYTES": 0, "KFREE_DEPTH": 0}

    def _names_chains(self) -> None:
        """Find out how a hook of nftables' leads to its chain's name."""
        memory = KernelMemory()
        try:
            offsets = chain_layout(self.symbols, self.layout.defines, memory)
        except GuestError as error:
            self.unnamed = error.message
            offsets = dict.fromkeys((*CHAIN_OFFSETS, BLOBS), 0)
        finally:
            memory.close()
        self.layout.defines.update(offsets)

    def _names_rules(self) -> None:
        """Find out where rules of nftables' give their verdicts, and how a rule tells its handle."""
        try:
            if self.unnamed is not None or self.layout.defines[BLOBS] < 0:
                raise GuestError(self.unnamed or "a rule lies in memory in a way that the tracer does not know")
            self.rules = rules_of(self.symbols)
        except GuestError as error:
            self.undecided = error.message

    def find_chained(self) -> None:
        """Tell the programs at which addresses the functions are whose argument is a chain: modules may have come.

        Forked children share the kernel's table, and know of other changes: what is there is read, not remembered.
        """
        if self.unnamed is not None:
            return
        if self.modules.changes != self._chained_at:
            self._chained_at, self._chained = self.modules.changes, set(self.modules.addresses(CHAINED))
        functions = self.bpf["chained"]
        there = set(functions)
        for address in self._chained - there:
            functions[address] = 1
        for address in there - self._chained:
            del functions[address]

    def _address(self, name: str) -> str | int:
        """Where something of vmlinux is; 0 where it has none of that name."""
        found = [symbol.address for symbol in self.symbols.named(name) if symbol.module is None]
        return f"{found[0]:#x}UL" if len(found) == 1 else 0

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
        """The file descriptor of each processor's ring buffer map."""
        return [self.bpf[f"events{number}"].map_fd for number in range(self.processors)]

    def module_descriptor(self) -> int:
        """The file descriptor of the ring buffer map of modules that came and went."""
        return int(self.bpf["modules"].map_fd)

    def close(self) -> None:
        """Take the probes' definitions out of the kernel."""
        if self.bpf is not None:
            self.kprobes.remove()
            self.bpf.close()
            os.close(self.lock)
            self.bpf = None

    def own_hook(self) -> int:
        """Address of nfharness.ko's hook function, 0 while it is not loaded. One attribute tells where it was loaded this time."""
        try:
            text = int(_OWN_TEXT.read_text(), 16)
        except OSError:
            return 0
        if self._own_offset is None:
            self.modules.look(time.monotonic_ns())
            self._own_offset = self.modules.one("nfharness_hook", "nfharness").address - text
        return text + self._own_offset


def _rings(processors: int) -> str:
    return "".join(f"BPF_RINGBUF_OUTPUT(events{number}, RING_PAGES);\n" for number in range(processors))


def _reserves(processors: int) -> str:
    """C functions, one for each kind of record, that reserve a record in the running processor's ring. BCC rewrites no macro's body."""
    functions = []
    for record in _RECORDS:
        reserve = f"ringbuf_reserve(sizeof(struct {record}))"
        cases = "".join(f"\tcase {number}: event = events{number}.{reserve}; break;\n" for number in range(processors))
        head = f"static __always_inline struct {record} *reserve_{record}(void)"
        functions.append(f"{head}\n{{\n\tstruct {record} *event = 0;\n\n\tunfinished(1);\n"
                         f"\tswitch (bpf_get_smp_processor_id()) {{\n{cases}\t}}\n"
                         "\tif (!event)\n\t\tunfinished(-1);\n\treturn event;\n}\n")
    return "\n".join(functions)
