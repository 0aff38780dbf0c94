"""Private arrays of ``nfharness.ko``: core's raw functions, and ``nf_hook_slow`` with any verdict and from any slot.

No packet of the stack's comes there, so that what would leak or corrupt a packet can be tried: the module consumes the one it makes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from harness.guest.genetlink import attribute
from harness.guest.module import HookModule, HookRefused, LiveSlot
from harness.guest.uapi import Attribute, Command, pack, unpack

__all__ = ("ListResult", "RawHook", "RawResult", "alter", "delete", "insert", "insert_many", "run", "run_list", "slots")


@dataclass(frozen=True, slots=True)
class RawHook:
    """A hook in a private array.

    :param id: u64, not 0, unique in its namespace
    :param array: u32, the private array's number; it begins with its first hook and ends with its last
    :param verdict: u32, returned as it is
    :param cookie: only a packet that carries it gets the verdict; ``None``: every packet does
    """

    id: int
    array: int
    priority: int
    verdict: int
    cookie: int | None = None


@dataclass(frozen=True, slots=True)
class ListResult:
    """What ``nf_hook_slow_list`` did.

    :param calls: cookie of the packet and id of the hook, in order
    :param passed: cookies of the packets that came out, in order
    :param users: of each packet that went in, in order, as of :class:`RawResult`
    :param linked: 1 for each that a hook met while it was linked to another packet
    :param altered: calls with another ``nf_hook_state`` than core was given
    """

    calls: tuple[tuple[int, int], ...]
    passed: tuple[int, ...]
    users: tuple[int, ...]
    linked: tuple[int, ...]
    altered: int = 0


@dataclass(frozen=True, slots=True)
class RawResult:
    """What ``nf_hook_slow`` did.

    :param returned: its return value
    :param called: ids of the hooks that it called, in order
    :param users: ``skb->users`` afterwards, a reference of the module's among them: 1 if core freed the skb, 2 if not, 0 if twice
    :param altered: as of :class:`ListResult`
    """

    returned: int
    called: tuple[int, ...]
    users: int
    altered: int = 0


def insert(module: HookModule, hook: RawHook) -> None:
    """``nf_hook_entries_insert_raw``.

    :raises HookRefused: EEXIST, E2BIG, ENOMEM
    """
    module.request(Command.RAW_INSERT, _encode(hook))


def insert_many(module: HookModule, hooks: list[RawHook]) -> list[HookRefused | None]:
    """Many of them; the refusal of each, or ``None``."""
    return module.request_many(Command.RAW_INSERT, map(_encode, hooks))


def delete(module: HookModule, hook_id: int, array: int | None = None) -> None:
    """``nf_hook_entries_delete_raw``.

    :param array: where core is to look for the hook; where it is, by default
    :raises HookRefused: ENOENT: no such hook, or nothing in the array
    """
    module.request(Command.RAW_DELETE, pack(Attribute.ID, hook_id) + (b"" if array is None else pack(Attribute.ARRAY, array)))


def alter(module: HookModule, hook_id: int, priority: int) -> None:
    """Give the ops of a hook another priority, of which core is not told.

    :raises HookRefused: ENOENT: no such hook
    """
    module.request(Command.RAW_ALTER, pack(Attribute.ID, hook_id) + pack(Attribute.PRIORITY, priority))


def slots(module: HookModule, array: int) -> list[LiveSlot]:
    """A private array, slot by slot."""
    return module.dump_slots(pack(Attribute.ARRAY, array))


def run(module: HookModule, array: int, start: int = 0, cookie: int = 0) -> RawResult:
    """``nf_hook_slow`` over a private array, with a datagram made for it.

    :param start: slot to start with
    :param cookie: that the datagram carries
    :raises HookRefused: ENOENT: nothing in the array; EBUSY: the queue of an NF_QUEUE verdict has a listener
    """
    (reply,) = module.request(
        Command.RAW_RUN, pack(Attribute.ARRAY, array) + pack(Attribute.START, start) + pack(Attribute.COOKIE, cookie))
    called = reply[Attribute.CALLED]
    return RawResult(unpack(reply, Attribute.RETURN), struct.unpack(f"={len(called) // 8}Q", called), unpack(reply, Attribute.USERS),
                     unpack(reply, Attribute.ALTERED))


def run_list(module: HookModule, array: int, cookies: Sequence[int]) -> ListResult:
    """``nf_hook_slow_list`` over a private array.

    :param cookies: of the datagrams that are made for it, in order, 16 at most

    :raises HookRefused: as of :func:`run`
    """
    packed = attribute(Attribute.COOKIES, struct.pack(f"={len(cookies)}Q", *cookies))
    (reply,) = module.request(Command.RAW_LIST, pack(Attribute.ARRAY, array) + packed)
    called = _numbers(reply[Attribute.CALLED], "Q")
    return ListResult(tuple(zip(called[::2], called[1::2], strict=True)), _numbers(reply[Attribute.PASSED], "Q"),
                      _numbers(reply[Attribute.LIST_USERS], "I"), _numbers(reply[Attribute.LIST_LINKED], "I"),
                      unpack(reply, Attribute.ALTERED))


def _numbers(data: bytes, kind: str) -> tuple[int, ...]:
    return struct.unpack(f"={len(data) // struct.calcsize(kind)}{kind}", data)


def _encode(hook: RawHook) -> bytes:
    return (pack(Attribute.ID, hook.id) + pack(Attribute.ARRAY, hook.array) + pack(Attribute.PRIORITY, hook.priority)
            + pack(Attribute.RAW_VERDICT, hook.verdict)
            + (b"" if hook.cookie is None else pack(Attribute.COOKIE, hook.cookie)))
