"""Hostile generic netlink for ``nfharness.ko``, in a guest of a kernel that poisons its slabs:
``nfharness exec --bare --append slub_debug=FZP --python -- - REQUESTS SEED < tests/e2e/fuzz.py``.

A third of the requests as root of a user namespace, which must not make the kernel warn; then as root, whose requests may make core warn,
and harm nothing. Requests are counted, not seconds: the clock of a guest that gets no processor goes on. Five tasks send them, beside
others that send packets, answer queues, and load rulesets, devices and namespaces. At the end the module goes, and what waited in queues
goes on.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from random import Random

from harness.errors import GuestError
from harness.guest import netns
from harness.guest.genetlink import GenericNetlink, attribute
from harness.guest.health import WARNED, KernelLog, Splat, splats, taint, taint_names, warn_again
from harness.guest.module import KERNEL_OBJECT, ensure, unload
from harness.guest.netns import Namespace
from harness.guest.traffic import payload
from harness.guest.uapi import Attribute, Command
from harness.trace.kmsg import LogLine

TASKS = 5
NOBODY, PR_SET_DUMPABLE, CLONE_NEWUSER, CLONE_NEWNET = 65534, 4, 0x10000000, 0x40000000
COOKIE, QUEUES, PORT = 1, range(8), 9
CORE_WARNS = re.compile(r"net/netfilter/(core|nf_queue)\.c|hook not found")

#: What a request of each command carries when it is as it should be; any other attribute comes to it by chance.
WANTED = {
    Command.HOOK_ADD: "ID PF HOOKNUM PRIORITY VERDICT",
    Command.HOOK_DEL: "ID", Command.HOOK_GET: "ID", Command.HOOK_FLUSH: "",
    Command.SLOT_GET: "PF HOOKNUM",
    Command.RAW_INSERT: "ID ARRAY PRIORITY RAW_VERDICT", Command.RAW_DELETE: "ID", Command.RAW_RUN: "ARRAY",
    Command.BATCH_ADD: "HOOKS", Command.BATCH_DEL: "ID", Command.HOOK_AGAIN: "ID", Command.HOOK_DEL_ABSENT: "PF HOOKNUM",
    Command.FAIL_NEXT: "FAIL", Command.CT_RUN: "SADDR DADDR SPORT DPORT",
    Command.NETNS_GET: "", Command.KEYS_GET: "", Command.TAMPER: "ID TAMPER", Command.FAIL_NETNS: "FAIL", Command.RAW_ALTER: "ID PRIORITY",
    Command.RAW_LIST: "ARRAY COOKIES", Command.MEMORY_GET: "", Command.TOGETHER: "HOOKS",
}
#: What root of a user namespace may do; the others are never done for it.
NOBODYS = {Command.HOOK_ADD, Command.HOOK_DEL, Command.HOOK_GET, Command.HOOK_FLUSH, Command.SLOT_GET, Command.RAW_INSERT,
           Command.RAW_DELETE, Command.RAW_RUN, Command.BATCH_ADD, Command.BATCH_DEL, Command.HOOK_AGAIN}
#: What is done many times in a few seconds, or the requests are not what they should be.
OFTEN = {Command.HOOK_ADD, Command.RAW_INSERT, Command.RAW_RUN, Command.TAMPER, Command.CT_RUN}
#: What may go with them.
OPTIONAL = {
    Command.HOOK_ADD: "IFINDEX ERRNO QUEUE_NUM QUEUE_BYPASS COOKIE REINJECT_VERDICT TIMES UNCHECKED DEVICE_NETNS",
    Command.SLOT_GET: "IFINDEX ARRAY", Command.RAW_DELETE: "ARRAY", Command.RAW_RUN: "COOKIE START",
    Command.HOOK_DEL_ABSENT: "IFINDEX UNCHECKED", Command.CT_RUN: "CT_TRACK CT_OWN CT_CLOSE COOKIE",
    Command.RAW_INSERT: "COOKIE", Command.MEMORY_GET: "SETTLE", Command.TOGETHER: "ID OTHER",
}
#: How often each is sent: what makes packets and hooks more often than what ends them or is slow.
WEIGHT = {Command.HOOK_ADD: 12, Command.RAW_INSERT: 8, Command.RAW_RUN: 12, Command.CT_RUN: 8, Command.TAMPER: 6, Command.HOOK_FLUSH: 0.3,
          Command.FAIL_NEXT: 0.5, Command.FAIL_NETNS: 0.2, Command.NETNS_GET: 0.3, Command.BATCH_ADD: 4,
          Command.TOGETHER: 0.5, Command.MEMORY_GET: 0.3}
NUMBERS: dict[Attribute, tuple[int, ...]] = {
    Attribute.OTHER: tuple(range(1, 13)),
    Attribute.ID: tuple(range(1, 13)), Attribute.PF: (1, 2, 2, 2, 3, 5, 5, 7, 10), Attribute.HOOKNUM: (0, 1, 1, 1, 2, 3, 4, 5),
    Attribute.IFINDEX: (1, 1, 2, 3), Attribute.PRIORITY: (-400, -100, 0, 0, 100), Attribute.VERDICT: (0, 1, 1, 1, 1, 2, 3),
    Attribute.ERRNO: (1, 4095), Attribute.QUEUE_NUM: tuple(QUEUES), Attribute.COOKIE: (0, COOKIE), Attribute.ARRAY: (0, 1, 2),
    Attribute.RAW_VERDICT: (0, 1, 1, 2, 4, 5, 0xFFFF0000, *(3 | queue << 16 for queue in QUEUES), 0x8003), Attribute.START: (0, 1),
    Attribute.FAIL: (0, 1, 2, 3, 0xFFFFFFFF), Attribute.CT_OWN: tuple(range(8)), Attribute.DEVICE_NETNS: (3, 4, 5),
    Attribute.TAMPER: (0, 1, 2, 2, 3), Attribute.REINJECT_VERDICT: (0, 1, 2, 3, 4, 5, 0xFFFF0001), Attribute.TIMES: (1, 64),
    Attribute.SADDR: (0x0100007F,), Attribute.DADDR: (0x0100007F,), Attribute.SPORT: (0x0900,), Attribute.DPORT: (PORT << 8,),
}
SIZES = {Attribute.ID: 8, Attribute.COOKIE: 8, Attribute.PF: 1, Attribute.QUEUE_NUM: 2, Attribute.SPORT: 2, Attribute.DPORT: 2,
         Attribute.QUEUE_BYPASS: 0, Attribute.UNCHECKED: 0, Attribute.CT_TRACK: 0, Attribute.CT_CLOSE: 0, Attribute.SETTLE: 0,
         Attribute.OTHER: 8}

RULESETS = ("table ip t { chain c { type filter hook input priority 0; udp dport 9 counter accept; }; }",
            "table netdev n { chain c { type filter hook ingress device lo priority 0; counter; }; }",
            "table inet i { chain c { type filter hook output priority 5; counter; }; }")
QUEUING = "table ip q { chain c { type filter hook prerouting priority -50; udp dport 9 queue num 7; }; }"
TRACKING = "table ip x { chain c { type nat hook postrouting priority 100; masquerade; }; }"


# Requests

def number(kind: Attribute, random: Random) -> bytes:
    """A value of the right size: mostly one that is taken, else one at an end of its range, or any."""
    size = SIZES.get(kind, 4)
    ends = (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, random.getrandbits(8 * size)) if size else (0,)
    value = random.choice(NUMBERS.get(kind, ends) if random.random() < 0.9 else ends)
    return int(value & (1 << 8 * size) - 1).to_bytes(size, "little")


def one(kind: Attribute, random: Random) -> bytes:
    """An attribute; now and then of a wrong length or flag."""
    if kind is Attribute.HOOKS:
        value = b"".join(attribute(0x8001, attributes_of(Command.HOOK_ADD, random)) for _ in range(random.choice((0, 1, 2, 3, 70))))
        return attribute(kind | 0x8000, value)
    value = random.randbytes(8 * random.randrange(1, 17)) if kind is Attribute.COOKIES else number(kind, random)
    if random.random() < 0.02:
        value = random.choice((b"", value[:-1], value + b"\0", value * 9, attribute(kind, value)))
    return attribute(kind | (random.choice((0x4000, 0x8000)) if random.random() < 0.01 else 0), value)


def attributes_of(command: Command, random: Random) -> bytes:
    """The attributes of a request: one may be missing, one doubled, one be foreign."""
    names = [*WANTED.get(command, " ".join(Attribute.__members__)).split()]
    often = random.choice((0, 0.25))  # many of them together are mostly refused
    names += [name for name in OPTIONAL.get(command, "").split() if random.random() < often]
    kinds = [Attribute[name] for name in names]
    if Attribute.HOOKNUM in kinds and Attribute.IFINDEX not in kinds and random.random() < 0.3:
        return attribute(Attribute.PF, b"\5") + attribute(Attribute.HOOKNUM, bytes(4)) + attribute(Attribute.IFINDEX, b"\1\0\0\0") + \
            b"".join(one(kind, random) for kind in kinds if kind not in (Attribute.PF, Attribute.HOOKNUM))
    chance = random.random()
    if chance < 0.03 and kinds:
        kinds.remove(random.choice(kinds))
    elif chance < 0.06 and kinds:
        kinds.append(random.choice(kinds))
    elif chance < 0.08:
        kinds.append(random.choice(list(Attribute)))
    return b"".join(one(kind, random) for kind in kinds)


def request(command: int, random: Random) -> tuple[bytes, int]:
    """Body and flags of a message: REQUEST and ACK, or a dump; now and then cut off or with something behind."""
    body = attributes_of(Command(command), random) if command in list(Command) else random.randbytes(random.randrange(64))
    if random.random() < 0.01:
        body = random.choice((body[:random.randrange(len(body) + 1)], body + random.randbytes(random.randrange(8))))
    dump = command == Command.SLOT_GET or random.random() < (0.3 if command == Command.HOOK_GET else 0.01)
    return body, 0x301 if dump else 5


class Sender:
    """A socket to the family. What it does not read is thrown away."""

    def __init__(self) -> None:
        with GenericNetlink("nfharness", 1) as known:
            self.family = known._family
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 16)
        self.socket.setblocking(False)

    def send(self, command: int, body: bytes, flags: int) -> bool:
        """Whether it was done."""
        self.socket.send(struct.pack("=IHHIIBBH", 20 + len(body), self.family, flags, 1, 0, command, 1, 0) + body)
        done = False
        with suppress(OSError):
            while True:
                answer = self.socket.recv(1 << 16)
                done |= struct.unpack_from("=H", answer, 4)[0] != 2 or struct.unpack_from("=i", answer, 16)[0] == 0
        return done


# Tasks

class World:
    """What the tasks share.

    :param wanted: so many requests
    :param places: namespaces; none: the one they are in
    """

    def __init__(self, seed: str, wanted: int, places: tuple[Namespace, ...], *, root: bool) -> None:
        self.seed, self.wanted, self.places, self.root = seed, wanted, places, root
        self.count = multiprocessing.Value(ctypes.c_uint64)
        self.done = multiprocessing.Array("Q", 256)
        self.sent = multiprocessing.Array("Q", 256)
        self.quiet, self.gone, self.over = (multiprocessing.Event() for _ in range(3))
        self.tasks: list[multiprocessing.Process] = []

    def progress(self) -> float:
        """The part of the requests that has been sent: from 1 on it is enough."""
        return self.count.value / self.wanted

    def random(self, name: str) -> Random:
        return Random(f"{self.seed} {name}")  # noqa: S311 - it is to be repeated

    def start(self, name: str, task: Callable[[World, Random], None]) -> None:
        self.tasks.append(multiprocessing.Process(target=task, name=name, args=(self, self.random(name))))
        self.tasks[-1].start()

    def join(self) -> list[str]:
        """Wait for all; those that failed."""
        for task in self.tasks:
            task.join()
        return [f"{task.name}: {task.exitcode}" for task in self.tasks if task.exitcode]

    @contextmanager
    def somewhere(self, random: Random) -> Iterator[None]:
        with inside(random.choice(self.places or (None,))):
            yield


def inside(place: Namespace | None) -> AbstractContextManager[None]:
    """Be in a namespace, or stay."""
    return place.inside() if place else nullcontext()


def requests(world: World, random: Random) -> None:
    """Send requests from one namespace after the other."""
    commands = [*Command, 0, 255]
    weights = [WEIGHT.get(command, 2) if command else 0.1 for command in commands]
    while world.progress() < 1:
        with world.somewhere(random), suppress(OSError):
            sender = Sender()
            for command in random.choices(commands, weights, k=random.choice((1, 20, 200))):
                if world.progress() >= 1:
                    break
                done = sender.send(command, *request(command, random))
                with world.count.get_lock():
                    world.count.value += 1
                    world.sent[command] += 1
                    world.done[command] += done


def packets(world: World, random: Random) -> None:
    """Datagrams and streams through lo."""
    while not world.over.is_set():
        with world.somewhere(random), suppress(OSError):
            datagrams()
            stream()
        time.sleep(0.02)


def datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sink.bind(("127.0.0.1", PORT))
        for size, cookie in ((32, COOKIE), (32, 2), (3000, COOKIE)) * 5:
            with suppress(OSError):
                sender.sendto(payload(size, cookie), ("127.0.0.1", PORT))


def stream() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        for end in (server, client):
            end.settimeout(0.05)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(0.05)
            client.sendall(bytes(20000))
            accepted.recv(20000)


def nfqueue(kind: int, queue: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", 0, 0, queue) + body
    return struct.pack("=IHHII", 16 + len(message), 3 << 8 | kind, 1, 1, 0) + message


def listener(world: World, random: Random) -> None:
    """Listen to all queues, and answer most of what comes; what has been kept is accepted when the module is gone."""
    kept: list[tuple[socket.socket, int, int]] = []
    sockets = [listening(place) for place in world.places or (None,)]
    while not world.gone.is_set():
        for netlink in select.select(sockets, [], [], 0.05)[0]:
            with suppress(OSError):
                data = netlink.recv(1 << 17, socket.MSG_DONTWAIT)
                if struct.unpack_from("=H", data, 4)[0] == 3 << 8:
                    kept.append((netlink, struct.unpack_from("!H", data, 18)[0], struct.unpack_from("!I", data, 24)[0]))
        if kept and not world.quiet.is_set() and random.random() < 0.8:
            answer(*kept.pop(random.randrange(len(kept))), random.choice((0, 1, 1, 1, 3, 4, 5)))
    for packet in kept:
        answer(*packet, 1)


def listening(place: Namespace | None) -> socket.socket:
    with inside(place):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    for queue in QUEUES:
        netlink.send(nfqueue(2, queue, attribute(1, struct.pack("!BBH", 1, 0, 0))))
        netlink.send(nfqueue(2, queue, attribute(2, struct.pack("!IB", 0xFFFF, 2))))
    return netlink


def answer(netlink: socket.socket, queue: int, packet: int, verdict: int) -> None:
    with suppress(OSError):
        netlink.send(nfqueue(1, queue, attribute(2, struct.pack("!II", verdict, packet))))


def churn(world: World, random: Random) -> None:
    """Rulesets, devices and namespaces come and go. Only root queues by rules: older kernels warn of what they themselves throw away."""
    rulesets = [*RULESETS, *([QUEUING] if world.root else [])]
    while not world.quiet.is_set():
        ruleset = random.choice([*rulesets, TRACKING] if world.root and world.progress() > 0.5 else rulesets)
        with world.somewhere(random):
            run("nft", "-f", "-", text=f"flush ruleset\n{ruleset}")
            run("ip", "-batch", "-", text="link add doomed type veth peer name other\nlink set doomed up\n")
        if world.root:
            with suppress(OSError):  # what we ask for may be that no namespace can be made
                doomed = netns.create("fuzz-doomed")
                requests_to(doomed, random)
                doomed.delete()
        with world.somewhere(random):
            run("ip", "link", "del", "doomed")
        time.sleep(0.2)


def requests_to(doomed: Namespace, random: Random) -> None:
    """Send some requests to a namespace that will be gone."""
    with doomed.inside(), suppress(OSError):
        run("ip", "link", "set", "lo", "up")
        sender = Sender()
        for command in random.choices(list(WANTED), k=30):
            sender.send(command, *request(command, random))


def run(*command: str, text: str = "") -> None:
    """Run a command, whatever it says."""
    subprocess.run(command, input=text, text=True, capture_output=True, check=False)


# Phases

def begin(world: World) -> None:
    """Start all tasks."""
    for number in range(TASKS):
        world.start(f"requests {number}", requests)
    for task in (packets, listener, churn):
        world.start(task.__name__, task)


def as_nobody(world: World, _random: Random) -> None:
    """All tasks in a network namespace of a user namespace, that an unprivileged user has made."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {NOBODY} 1")
    Path("/proc/self/gid_map").write_text(f"0 {NOBODY} 1")
    run("ip", "link", "set", "lo", "up")
    world.tasks = []
    begin(world)
    failed = world.join()
    if failed:
        sys.exit(f"failed: {failed}")


def last_requests(world: World, random: Random) -> None:
    """Leave datagrams of the module's in a queue, when nothing throws queues away any more."""
    for place in world.places:
        with place.inside():
            run("nft", "-f", "-", text=f"flush ruleset\n{QUEUING}")
            sender = Sender()
            sender.send(Command.HOOK_FLUSH, b"", 5)
            for command in (Command.RAW_RUN, Command.CT_RUN):
                for _ in range(10):
                    body, flags = request(command, random)
                    sender.send(command, body + (attribute(Attribute.CT_TRACK, b"") if command is Command.CT_RUN else b""), flags)


def phase(world: World, lines: list[LogLine], log: KernelLog) -> list[str]:
    """One phase from its beginning to the end of the module; the tasks that failed."""
    if world.root:
        begin(world)
    else:
        world.start("nobody", as_nobody)
    while world.progress() < 1 and all(task.is_alive() for task in world.tasks):
        time.sleep(0.1)
        lines += log.lines()
    world.quiet.set()
    if world.root:
        for task in world.tasks:
            if task.name not in (packets.__name__, listener.__name__):
                task.join()
        last_requests(world, world.random("last"))
    patiently(unload)
    world.gone.set()
    time.sleep(0.5)
    world.over.set()
    failed = world.join()
    lines += log.lines()
    return failed


def patiently(action: Callable[[], None]) -> None:
    """A dump that has not been read to its end keeps the module."""
    deadline = time.monotonic() + 30
    while True:
        try:
            action()
        except GuestError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def slub_validates() -> None:
    """Look at every object of the caches that the module's are in.

    :raises SystemExit: the kernel was not booted with slub_debug
    """
    caches = [*Path("/sys/kernel/slab").glob("kmalloc-*"), *Path("/sys/kernel/slab").glob("skbuff_*")]
    if not caches or any((cache / "poison").read_text().strip() != "1" for cache in caches):
        sys.exit("slub does not poison: nfharness exec --append slub_debug=FZP")
    for cache in caches:
        (cache / "validate").write_text("1")


def faults(lines: list[LogLine], *, root: bool) -> list[Splat]:
    """What the kernel should not have said: root's requests may make core warn."""
    return [splat for splat in splats(lines)
            if not (root and splat.kind == "WARNING" and CORE_WARNS.search(f"{splat.first_line}\n{splat.summary}"))]


def main(wanted: int, seed: str) -> None:
    print(f"seed {seed}", flush=True)
    slub_validates()
    before, wrong = taint() & ~WARNED, list[str]()
    with KernelLog() as log:
        for root in (False, True):
            ensure(KERNEL_OBJECT)
            warn_again()
            places = tuple(netns.create(f"fuzz-{number}") for number in range(2)) if root else ()
            for place in places:
                with place.inside():
                    run("ip", "link", "set", "lo", "up")
            world, lines = World(seed, wanted * (2 if root else 1) // 3, places, root=root), list[LogLine]()
            wrong += [f"task failed: {failed}" for failed in phase(world, lines, log)]
            for place in places:
                place.delete()
            slub_validates()
            lines += log.lines()
            wrong += [f"{splat.first_line}: {splat.summary}" for splat in faults(lines, root=root)]
            wrong += report(world)
        if log.lost:
            print("the kernel's log overran")
    if taint() & ~WARNED != before:
        wrong.append(f"the kernel is tainted: {taint_names(taint())}")
    sys.exit("\n".join(wrong) or 0)


def report(world: World) -> list[str]:
    """Print how many requests were sent and done; what was never done, or was done for one who may not."""
    who = "root" if world.root else "nobody"
    print(f"{who}: {sum(world.sent[:])} requests, {sum(world.done[:])} done: "
          + " ".join(f"{command.name} {world.done[command]}/{world.sent[command]}" for command in WANTED), flush=True)
    often = OFTEN if world.root else OFTEN & NOBODYS
    wrong = [f"{who}: {command.name} was never done" for command in often if not world.done[command]]
    allowed = set(Command) if world.root else NOBODYS
    return wrong + [f"{who}: {command.name} was done" for command in set(WANTED) - allowed if world.done[command]]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
