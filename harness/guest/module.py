"""Client of ``nfharness.ko``: hooks on demand, and the live array of any hook point (``kmod/nfharness.h``)."""

from __future__ import annotations

import contextlib
import errno
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from harness.errors import GuestError
from harness.guest.genetlink import GenericNetlink, NetlinkRefused, attribute, attributes
from harness.guest.netns import Namespace
from harness.guest.uapi import Attribute, Command, Tamper, pack, unpack
from harness.netfilter import Family, Verdict, VerdictKind

__all__ = (
    "KERNEL_OBJECT",
    "ArrayBooks",
    "Hook",
    "HookModule",
    "HookRefused",
    "LiveSlot",
    "ModuleHook",
    "Place",
    "ensure",
    "is_loaded",
    "load",
    "unload",
)

#: Where a guest finds the module built for its kernel.
KERNEL_OBJECT = Path("/run/nfharness/nfharness.ko")

_NAME, _VERSION = "nfharness", 1
_BUILD_ID = Path("/sys/module/nfharness/notes/.note.gnu.build-id")
_NESTED = 0x8000
_KEYS_HOOKS = 8


def is_loaded() -> bool:
    """Whether the running kernel has the module."""
    return Path("/sys/module", _NAME).is_dir()


def ensure(kernel_object: Path) -> None:
    """Load the module unless it is; another build of it is replaced.

    :raises GuestError: there is none, or the kernel does not take it, or keeps the older one
    """
    if is_loaded():
        # The notes lie in the file as the kernel shows them.
        if _BUILD_ID.exists() and _BUILD_ID.read_bytes() in kernel_object.read_bytes():
            return
        unload()
    load(kernel_object)


def load(kernel_object: Path = KERNEL_OBJECT) -> None:
    """Load the module.

    :raises GuestError: there is none, or the kernel does not take it
    """
    _run("insmod", str(kernel_object))


def unload() -> None:
    """Unload the module; all of its hooks go.

    :raises GuestError: the kernel keeps it
    """
    _run("rmmod", _NAME)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise GuestError(f"{' '.join(command)}: {done.stderr.strip()}", hint="the kernel's log says why: dmesg")


class HookRefused(OSError):
    """The module or ``nf_register_net_hook`` refused.

    :ivar reason: the extended-ack text, empty if there is none
    :ivar attribute: what it complained about, if it named one
    """

    def __init__(self, refusal: NetlinkRefused) -> None:
        try:
            self.attribute = None if refusal.attribute is None else Attribute(refusal.attribute)
        except ValueError:
            self.attribute = None
        text = refusal.strerror if self.attribute is None else f"{refusal.strerror} ({self.attribute.name})"
        super().__init__(refusal.errno, text)
        self.reason = refusal.reason


@dataclass(frozen=True, slots=True)
class Hook:
    """What ``HOOK_ADD`` takes.

    :param id: u64, not 0, unique in its namespace
    :param hook: ``hooknum``
    :param ifindex: for NETDEV and INET's INGRESS, 0 for others
    :param cookie: only a packet that carries it gets the verdict; ``None``: every packet does
    :param reinject_verdict: the u32 that it returns to ``nf_reinject``
    :param times: so many times, then it accepts
    :param unchecked: core, not the module, refuses a hook point that there is not; *pf* and *hook* may be any number
    :param device_netns: descriptor of a foreign namespace, whose device *ifindex* is; goes with *unchecked*
    """

    id: int
    pf: Family
    hook: int
    priority: int
    verdict: Verdict
    ifindex: int = 0
    cookie: int | None = None
    unchecked: bool = False
    device_netns: int | None = None
    reinject_verdict: int | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class ModuleHook:
    """What the module knows of one of its hooks.

    :param calls: of the hook function
    :param matches: those that gave the verdict
    """

    hook: Hook
    calls: int
    matches: int


@dataclass(frozen=True, slots=True)
class LiveSlot:
    """One element of a hook point's array, as core walks it.

    :param function: symbol of the hook function
    :param module: owner; ``None`` for vmlinux
    :param dummy: ``accept_all``, left behind by a shrink that found no memory
    :param hook_id: the hook of ours in it; ``None`` for another's
    :param address: of the function; ``None`` for a reader without CAP_SYSLOG
    """

    index: int
    function: str
    module: str | None
    priority: int
    dummy: bool
    hook_id: int | None
    address: int | None


@dataclass(frozen=True, slots=True)
class ArrayBooks:
    """Core's arrays since the first look.

    :param allocated: for this module's commands
    :param freed: of these
    :param early: of these, by the very call that replaced them
    :param waiting: RCU has them
    :param untold: there was no room in the books for them
    :param overwritten: core had written into their last ops, which readers may look at, when it freed them
    :param leaked: slots of each that neither a hook point, nor a private array, nor RCU has, 64 at most
    """

    allocated: int
    freed: int
    early: int
    waiting: int
    untold: int
    overwritten: int
    leaked: tuple[int, ...]


Place = tuple[Family, int, int] | int
"""Family, hook number and ifindex (0 for none) of a hook point; or the number of a private array."""


class HookModule:
    """The module, as one namespace sees it.

    :param netns: ``None`` for the calling thread's
    :raises GuestError: it is not loaded
    """

    def __init__(self, netns: Namespace | None = None) -> None:
        with netns.inside() if netns else contextlib.nullcontext():
            try:
                self._netlink = GenericNetlink(_NAME, _VERSION)
            except NetlinkRefused as refusal:
                if refusal.errno != errno.ENOENT:
                    raise
                raise GuestError("nfharness.ko is not loaded", hint=f"insmod {KERNEL_OBJECT}") from refusal

    def __enter__(self) -> HookModule:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace; its hooks stay."""
        self._netlink.close()

    def add_hook(self, hook: Hook) -> None:
        """``nf_register_net_hook``.

        :raises HookRefused: EEXIST, E2BIG, EINVAL, ENODEV, EOPNOTSUPP …
        """
        self.request(Command.HOOK_ADD, _encode(hook))

    def add_hooks(self, hooks: Iterable[Hook]) -> list[HookRefused | None]:
        """Many of them, a few dozen in each system call; the refusal of each, or ``None``."""
        return self.request_many(Command.HOOK_ADD, map(_encode, hooks))

    def churn(self, hook: Hook, turns: int, *, registered: bool) -> list[HookRefused]:
        """Register and unregister a hook by turns, as fast as it goes; the refusals.

        :param registered: whether it is when this begins
        """
        both = ((Command.HOOK_ADD, _encode(hook)), (Command.HOOK_DEL, pack(Attribute.ID, hook.id)))
        answers = self._netlink.run_many(both[(turn + registered) % 2] for turn in range(turns))
        return [HookRefused(refusal) for refusal in answers if refusal]

    def del_hook(self, hook_id: int) -> None:
        """``nf_unregister_net_hook``.

        :raises HookRefused: ENOENT
        """
        self.request(Command.HOOK_DEL, pack(Attribute.ID, hook_id))

    def add_hook_again(self, hook_id: int) -> None:
        """``nf_register_net_hook`` of the same ops; :meth:`del_hook` then takes one registration at a time."""
        self.request(Command.HOOK_AGAIN, pack(Attribute.ID, hook_id))

    def del_absent_hook(
        self, pf: int, hook: int, ifindex: int = 0, *, unchecked: bool = False, device_netns: int | None = None,
    ) -> None:
        """``nf_unregister_net_hook`` of ops that were never registered: core warns.

        :param device_netns: as of :class:`Hook`
        :raises HookRefused: no such point
        """
        foreign = pack(Attribute.DEVICE_NETNS, device_netns) if device_netns is not None else b""
        self.request(Command.HOOK_DEL_ABSENT,
                     _point(pf, hook, ifindex) + (attribute(Attribute.UNCHECKED, b"") if unchecked else b"") + foreign)

    def add_batch(self, hooks: Iterable[Hook]) -> None:
        """``nf_register_net_hooks``: all of them, 64 at most, or none.

        :raises HookRefused: what the first that failed did
        """
        elements = b"".join(attribute(1 | _NESTED, _encode(hook)) for hook in hooks)
        self.request(Command.BATCH_ADD, attribute(Attribute.HOOKS | _NESTED, elements))

    def del_batch(self, hook_id: int) -> None:
        """``nf_unregister_net_hooks`` of the batch that a hook came with.

        :raises HookRefused: it came in none, or some are gone
        """
        self.request(Command.BATCH_DEL, pack(Attribute.ID, hook_id))

    def fail_next(self, *allocations: int) -> None:
        """Make allocations fail, by number from 0, in core's next work on a hook or a private array of this namespace.

        :raises HookRefused: EOPNOTSUPP: the kernel's allocator takes no kretprobe
        """
        self.request(Command.FAIL_NEXT, pack(Attribute.FAIL, sum(1 << number for number in allocations)))

    def fail_netns(self, fail: bool) -> None:
        """Whether namespaces that this thread makes from now on find no memory for what core keeps of them.

        :raises HookRefused: EOPNOTSUPP: the kernel's ``_proc_mkdir`` takes no kprobe
        """
        self.request(Command.FAIL_NETNS, pack(Attribute.FAIL, int(fail)))

    def namespaces(self) -> tuple[frozenset[int], frozenset[int]]:
        """Inode numbers of the kernel's network namespaces: those that are used, and those that nothing uses and whose cleanup begins.

        Where there are none of the second kind, every other one has been cleaned up.
        """
        (reply,) = self.request(Command.NETNS_GET, b"")
        live, dying = (frozenset(_numbers(reply[kind])) for kind in (Attribute.NETNS_LIVE, Attribute.NETNS_DYING))
        return live, dying

    def keys(self) -> dict[tuple[Family, int], int]:
        """``nf_hooks_needed``: by family and hook number, in all namespaces.

        :raises HookRefused: EOPNOTSUPP: no jump labels
        """
        (reply,) = self.request(Command.KEYS_GET, b"")
        counts = enumerate(_numbers(reply[Attribute.KEYS]))
        return {(Family(position // _KEYS_HOOKS), position % _KEYS_HOOKS): count for position, count in counts}

    def memory(self, *, settle: bool = False) -> ArrayBooks:
        """What became of the arrays that core has allocated for this module's commands since the first call.

        :param settle: wait until RCU has called what it was given
        :raises HookRefused: EOPNOTSUPP: no probes can be put on the kernel's allocator
        """
        (reply,) = self.request(Command.MEMORY_GET, attribute(Attribute.SETTLE, b"") if settle else b"")
        allocated, freed, early, waiting, untold, overwritten = _numbers(reply[Attribute.MEMORY])
        return ArrayBooks(allocated, freed, early, waiting, untold, overwritten, _numbers(reply[Attribute.LEAKED]))

    def add_together(self, first: Hook, second: Hook) -> None:
        """Two tasks register two hooks at once. The caller stays on one processor.

        :raises HookRefused: what the first that failed did; EOPNOTSUPP: there is one processor, or no kretprobes
        """
        elements = b"".join(attribute(1 | _NESTED, _encode(hook)) for hook in (first, second))
        self.request(Command.TOGETHER, attribute(Attribute.HOOKS | _NESTED, elements))

    def del_together(self, first: int, second: int) -> None:
        """Two tasks unregister two hooks at once.

        :raises HookRefused: as of :meth:`add_together`, ENOENT
        """
        self.request(Command.TOGETHER, pack(Attribute.ID, first) + pack(Attribute.OTHER, second))

    def tamper(self, hook_id: int, how: Tamper) -> None:
        """Let a hook do what none should, until it goes.

        :raises HookRefused: ENOENT, EOPNOTSUPP, EALREADY
        """
        self.request(Command.TAMPER, pack(Attribute.ID, hook_id) + pack(Attribute.TAMPER, how))

    def flush(self) -> None:
        """Unregister all of the namespace's hooks, empty its private arrays, forget :meth:`fail_next`."""
        self.request(Command.HOOK_FLUSH, b"")

    def hook(self, hook_id: int) -> ModuleHook:
        """One hook and its counters.

        :raises HookRefused: ENOENT
        """
        (reply,) = self.request(Command.HOOK_GET, pack(Attribute.ID, hook_id))
        return _hook_state(reply)

    def hooks(self) -> list[ModuleHook]:
        """All of the namespace's hooks, in the order they were added.

        :raises DumpInterrupted: they changed meanwhile
        """
        return [_hook_state(reply) for reply in self._netlink.dump(Command.HOOK_GET)]

    def slots(self, pf: Family, hook: int, ifindex: int = 0) -> list[LiveSlot]:
        """The array of a hook point, read once.

        :raises HookRefused: no such point, or no such device
        """
        return self.dump_slots(_point(pf, hook, ifindex))

    def all_slots(self) -> dict[Place, list[LiveSlot]]:
        """Every array of the namespace that has slots, private ones too, read at once."""
        found: dict[Place, list[LiveSlot]] = {}
        for body in self._netlink.dump_replies(Command.SLOT_GET):
            place, slot = _placed(body)
            found.setdefault(place, []).append(slot)
        return found

    def dump_slots(self, which: bytes) -> list[LiveSlot]:
        """The slots of an array, in the order in which they are called.

        :param which: attributes that name an array.
        :raises HookRefused: there is none
        """
        try:
            return [_placed(body)[1] for body in self._netlink.dump_replies(Command.SLOT_GET, which)]
        except NetlinkRefused as refusal:
            raise HookRefused(refusal) from refusal

    def request_many(self, command: Command, bodies: Iterable[bytes]) -> list[HookRefused | None]:
        """Send one command many times, a few dozen in each system call; the refusal of each, or ``None``."""
        return [HookRefused(refusal) if refusal else None for refusal in self._netlink.request_many(command, bodies)]

    def request(self, command: Command, body: bytes) -> list[Mapping[int, bytes]]:
        """Send a command; the attributes of its answers.

        :raises HookRefused: it is refused
        """
        try:
            return list(self._netlink.request(command, body))
        except NetlinkRefused as refusal:
            raise HookRefused(refusal) from refusal


def _numbers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(data) // 4}I", data)


def _optional(reply: Mapping[int, bytes], kind: Attribute) -> int | None:
    return unpack(reply, kind) if kind in reply else None


def _text(reply: Mapping[int, bytes], kind: Attribute) -> str:
    return reply[kind].rstrip(b"\0").decode()


def _point(pf: int, hook: int, ifindex: int) -> bytes:
    body = pack(Attribute.PF, pf) + pack(Attribute.HOOKNUM, hook)
    return body + pack(Attribute.IFINDEX, ifindex) if ifindex else body


def _encode(hook: Hook) -> bytes:
    verdict = hook.verdict
    parts = [pack(Attribute.ID, hook.id), _point(hook.pf, hook.hook, hook.ifindex), pack(Attribute.PRIORITY, hook.priority),
             pack(Attribute.VERDICT, verdict.kind)]
    if verdict.errno:
        parts.append(pack(Attribute.ERRNO, verdict.errno))
    if verdict.kind is VerdictKind.QUEUE:
        parts.append(pack(Attribute.QUEUE_NUM, verdict.queue))
    if verdict.bypass:
        parts.append(attribute(Attribute.QUEUE_BYPASS, b""))
    if hook.unchecked:
        parts.append(attribute(Attribute.UNCHECKED, b""))
    optional = {Attribute.DEVICE_NETNS: hook.device_netns, Attribute.COOKIE: hook.cookie,
                Attribute.REINJECT_VERDICT: hook.reinject_verdict, Attribute.TIMES: hook.times}
    parts += [pack(kind, value) for kind, value in optional.items() if value is not None]
    return b"".join(parts)


def _hook_state(reply: Mapping[int, bytes]) -> ModuleHook:
    verdict = Verdict(VerdictKind(unpack(reply, Attribute.VERDICT)), errno=_optional(reply, Attribute.ERRNO) or 0,
                      queue=_optional(reply, Attribute.QUEUE_NUM) or 0, bypass=Attribute.QUEUE_BYPASS in reply)
    hook = Hook(unpack(reply, Attribute.ID), Family(unpack(reply, Attribute.PF)), unpack(reply, Attribute.HOOKNUM),
                unpack(reply, Attribute.PRIORITY), verdict, _optional(reply, Attribute.IFINDEX) or 0,
                _optional(reply, Attribute.COOKIE), reinject_verdict=_optional(reply, Attribute.REINJECT_VERDICT),
                times=_optional(reply, Attribute.TIMES))
    return ModuleHook(hook, unpack(reply, Attribute.CALLS), unpack(reply, Attribute.MATCHES))


def _place(reply: Mapping[int, bytes]) -> Place:
    if Attribute.ARRAY in reply:
        return unpack(reply, Attribute.ARRAY)
    return Family(unpack(reply, Attribute.PF)), unpack(reply, Attribute.HOOKNUM), _optional(reply, Attribute.IFINDEX) or 0


@lru_cache(maxsize=4096)
def _placed(body: bytes) -> tuple[Place, LiveSlot]:
    """A slot and its array; the same few are read after every step."""
    reply = attributes(body)
    return _place(reply), LiveSlot(
        index=unpack(reply, Attribute.SLOT_INDEX),
        function=_text(reply, Attribute.SLOT_FUNCTION),
        module=_text(reply, Attribute.SLOT_MODULE) if Attribute.SLOT_MODULE in reply else None,
        priority=unpack(reply, Attribute.PRIORITY),
        dummy=Attribute.SLOT_DUMMY in reply,
        hook_id=_optional(reply, Attribute.ID),
        address=_optional(reply, Attribute.SLOT_ADDRESS),
    )
