"""What goes on side by side while a kernel is under stress: a task is a process that stays on one processor and counts what it does.

Traffic is balanced after each burst: a datagram has arrived, or a hook's verdict or a queue's books say why it has not.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random

from harness.guest import bpf, netns
from harness.guest.churn import PORT, ChurnSink
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.netns import Namespace, iproute
from harness.guest.queue import Listener, queues
from harness.guest.topology import Network
from harness.guest.traffic import payload
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.scenario.steps.bpf import BpfLink
from harness.scenario.steps.queue import Listen

__all__ = ("DROPPED", "KINDS", "TASKS", "Place", "World", "open_places")

#: What is counted. Of the datagrams, those that were sent are the sum of the rest.
KINDS = (
    "hooks registered", "hooks unregistered", "base chains added", "base chains deleted", "BPF links made", "BPF links closed",
    "datagrams sent", "datagrams arrived", "datagrams that a hook dropped", "datagrams that a listener dropped",
    "datagrams flushed from a queue", "answers, late", "connection tables flushed", "devices made", "devices deleted", "namespaces made",
    "namespaces deleted",
)
DROPPED = 1
"""The id of the hook that drops the datagrams whose cookie is the same number; the other hooks accept."""
_QUEUEING, _QUEUE, _FIRST_COOKIE, _FIRST_ID = 2, 7, 100, 1000
#: Hooks that stand all the time at the first points: an array that takes longer to copy, and to walk, is more often met halfway.
_CROWDED, _STANDING, _STANDING_ID = 3, 96, 10_000
_ACCEPT, _DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)
_SETTLE_S, _PAUSE_S = 30.0, 0.002
#: Of each task: they lie in a pipe until the parent takes them.
_FAULTS = 10
_V4, _INET, _NETDEV = Family.IPV4, Family.INET, Family.NETDEV
#: Types of base chains, their hook points, and of these a ruleset's chains are; a transaction registers them one behind the other.
_CHAINS: dict[str, tuple[str, ...]] = {
    "inet": ("filter hook forward", "filter hook prerouting", "filter hook postrouting"),
    "ip": ("filter hook forward", "route hook output", "filter hook postrouting", "filter hook prerouting"),
    "ip6": ("filter hook forward",),
    "netdev": ("filter hook ingress device to-client",),
}
_MOST_CHAINS = 120
_TRACKING = "table ip tracked { chain i { type filter hook input priority 0; ct state new,established counter accept; }; }"


@dataclass(frozen=True, slots=True)
class Place:
    """A hook point where hooks come and go.

    :param namespace: of *network*
    :param lowest: priority; behind the hook that queues, where there is one: a hook that goes from before it moves it to another slot
    """

    network: str
    namespace: str
    pf: Family
    hook: str
    device: str = ""
    lowest: int = -300


_PLACES = (
    Place("router", "router", _V4, "FORWARD"),
    Place("router", "router", _V4, "PREROUTING"),
    Place("router", "router", _V4, "POSTROUTING"),
    Place("router", "router", _INET, "FORWARD"),
    Place("router", "router", _NETDEV, "INGRESS", "to-client"),
    Place("router", "router", _NETDEV, "EGRESS", "to-server"),
    Place("tracked", "host", _V4, "INPUT"),
    Place("queued", "host", _V4, "INPUT", lowest=10),
)


class World:
    """What the tasks share.

    :param networks: the topologies that stand: ``router``, ``tracked``, ``queued``
    :param places: where this kernel takes hooks
    """

    def __init__(self, seed: str, networks: dict[str, Network], places: tuple[Place, ...]) -> None:
        context = get_context("fork")
        self.networks, self.places = networks, places
        self._seed = seed
        self._counts, self._over, self._faults = context.Array("Q", len(KINDS)), context.Event(), context.SimpleQueue()
        self._told = 0
        self._tasks = [context.Process(target=_task, name=name, args=(self, name)) for name in TASKS]

    def start(self) -> None:
        """Start every task."""
        for task in self._tasks:
            task.start()

    def end(self, seconds: float) -> list[str]:
        """Tell the tasks to end, and wait.

        :returns: which failed, or did not end in time
        """
        self._over.set()
        deadline, wrong = time.monotonic() + seconds, []
        for task in self._tasks:
            task.join(max(0, deadline - time.monotonic()))
            if task.is_alive():
                wrong.append(f"the task {task.name} did not end within {seconds:.0f} s")
                task.kill()
            elif task.exitcode:
                wrong.append(f"the task {task.name} ended with {task.exitcode}")
        return wrong

    def goes_on(self) -> bool:
        """Whether the tasks are to go on."""
        return not self._over.is_set()

    def wait(self) -> None:
        """Do nothing until the end, in a task that this kernel has no use for."""
        self._over.wait()

    def all_live(self) -> bool:
        """Whether no task has ended."""
        return all(task.is_alive() for task in self._tasks)

    def add(self, kind: str, number: int = 1) -> None:
        """So many more of one of :data:`KINDS` were done."""
        with self._counts.get_lock():
            self._counts[KINDS.index(kind)] += number

    def counts(self) -> dict[str, int]:
        """How often each of :data:`KINDS` was done so far."""
        return dict(zip(KINDS, self._counts[:], strict=True))

    def fault(self, text: str) -> None:
        """Tell of what the kernel should not have done; of many the first ones of a task."""
        self._told += 1
        if self._told <= _FAULTS:
            self._faults.put(text)

    def faults(self) -> list[str]:
        """The faults since the last call."""
        found = []
        while not self._faults.empty():
            found.append(self._faults.get())
        return found

    def random(self, name: str) -> Random:
        """The random numbers of a task: the same for the same seed and name."""
        return Random(f"{self._seed} {name}")  # noqa: S311 - it is to be repeated

    def namespace(self, network: str, name: str) -> Namespace:
        """A namespace of a network, both by their names in the topology."""
        return self.networks[network].namespaces[name]

    def hook(self, place: Place, number: int, priority: int) -> Hook:
        """A hook that accepts at a place."""
        ifindex = self.networks[place.network].ifindexes[place.namespace, place.device] if place.device else 0
        return Hook(number, place.pf, hook_number(place.pf, place.hook), priority, _ACCEPT, ifindex)


def _task(world: World, name: str) -> None:
    """The life of a task."""
    processor, function = TASKS[name]
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[processor % len(processors)]})
    function(world, world.random(name))


def open_places(networks: dict[str, Network]) -> tuple[Place, ...]:
    """The places where this kernel takes a hook: some have no EGRESS.

    :raises HookRefused: it takes one for another reason not
    """
    world, found = World("", networks, ()), []
    for place in _PLACES:
        with HookModule(world.namespace(place.network, place.namespace)) as module:
            try:
                module.add_hook(world.hook(place, _FIRST_ID, place.lowest))
            except HookRefused as refusal:
                if refusal.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                continue
            module.del_hook(_FIRST_ID)
            found.append(place)
    return tuple(found)


# Hooks and chains

def hooks(world: World, random: Random) -> None:
    """Register and unregister hooks of ours: one by turns, or many and then none, in any order."""
    with ExitStack() as stack:
        keys = dict.fromkeys((place.network, place.namespace) for place in world.places)
        modules = {key: stack.enter_context(HookModule(world.namespace(*key))) for key in keys}
        for number, place in enumerate(world.places[:_CROWDED]):
            ids = range(_STANDING_ID * (number + 1), _STANDING_ID * (number + 1) + _STANDING)
            standing = [world.hook(place, one, random.randrange(place.lowest, 300)) for one in ids]
            _refused(world, place, [refusal for refusal in modules[place.network, place.namespace].add_hooks(standing) if refusal])
            world.add("hooks registered", _STANDING)
        while world.goes_on():
            place = random.choice(world.places)
            module = modules[place.network, place.namespace]
            if random.random() < 0.5:
                hook = world.hook(place, _FIRST_ID, random.randrange(place.lowest, 300))
                rounds = random.randrange(1, 64)
                _refused(world, place, module.churn(hook, 2 * rounds, registered=False))
            else:
                rounds = random.randrange(2, 48)
                wanted = [world.hook(place, _FIRST_ID + number, random.randrange(place.lowest, 300)) for number in range(rounds)]
                _refused(world, place, [refusal for refusal in module.add_hooks(wanted) if refusal])
                random.shuffle(wanted)
                for one in wanted:
                    with _expected(world, place):
                        module.del_hook(one.id)
            world.add("hooks registered", rounds)
            world.add("hooks unregistered", rounds)


def _refused(world: World, place: Place, refusals: list[HookRefused]) -> None:
    for refusal in refusals:
        world.fault(f"{place.pf.name} {place.hook}: a hook was refused: {refusal}")


@contextmanager
def _expected(world: World, place: Place) -> Iterator[None]:
    try:
        yield
    except HookRefused as refusal:
        _refused(world, place, [refusal])


def chains(world: World, random: Random) -> None:
    """Base chains come and go where the other processor has hooks come and go."""
    there = {place.pf for place in world.places}
    families = [family for family in _CHAINS if family != "netdev" or _NETDEV in there]
    while world.goes_on():
        family, name, number = random.choice(families), f"s{random.randrange(4)}", random.randrange(1, _MOST_CHAINS)
        text = " ".join(f"chain c{chain} {{ type {random.choice(_CHAINS[family])} priority {random.randrange(-300, 300)}; counter; }};"
                        for chain in range(number))
        with world.namespace("router", "router").inside():
            if _nft(world, f"table {family} {name} {{ {text} }}"):
                world.add("base chains added", number)
                time.sleep(random.random() / 20)
                if _nft(world, f"delete table {family} {name}"):
                    world.add("base chains deleted", number)


def _nft(world: World, text: str) -> bool:
    """Load a ruleset into the caller's namespace; whether nft took it."""
    done = subprocess.run(["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        world.fault(f"nft refused {text}: {done.stderr.strip()}")
    return not done.returncode


def links(world: World, random: Random) -> None:
    """BPF programs come and go as hooks, where the kernel has such links: no lock of netlink's holds their system calls up."""
    router = world.namespace("router", "router")
    while world.goes_on():
        held: list[int] = []
        for _ in range(random.randrange(1, 32)):
            # Priorities that no other hook has, as theirs must be; each link another one.
            wanted = BpfLink("link", "router", _V4, random.choice(("FORWARD", "PREROUTING", "POSTROUTING")), 400 + len(held))
            try:
                held.append(bpf.link(router, wanted))
            except OSError as error:
                if error.errno == errno.EINVAL and not held:
                    world.wait()
                    return
                world.fault(f"a BPF link was refused: {error}")
        random.shuffle(held)
        for descriptor in held:
            os.close(descriptor)
        world.add("BPF links made", len(held))
        world.add("BPF links closed", len(held))


# Traffic

class _Flow:
    """Datagrams from one namespace to another. A context.

    :param source: the namespace that they leave, as :meth:`World.namespace` has it
    :param ports: of the sender, each a separate connection to conntrack
    """

    def __init__(self, world: World, source: Namespace, to: Namespace, address: str, *, ports: int = 1) -> None:
        self._world, self._address = world, address
        with source.inside():
            self._senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) for _ in range(ports)]
        self.sink = ChurnSink(to)

    def __enter__(self) -> _Flow:
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            sender.close()
        self.sink.__exit__()

    def send(self, cookies: list[int]) -> int:
        """Send a datagram with each cookie; how many ``sendto()`` took."""
        sent = 0
        for number, cookie in enumerate(cookies):
            with suppress(OSError):
                self._senders[number % len(self._senders)].sendto(payload(64, cookie), (self._address, PORT))
                sent += 1
        self._world.add("datagrams sent", sent)
        return sent

    def balance(self, what: str, cookies: list[int]) -> None:
        """Take a burst of which all must arrive, in whatever order, each once."""
        arrived = self.sink.arrived(len(cookies))
        self._world.add("datagrams arrived", len(arrived))
        if sorted(arrived) != sorted(cookies):
            missing, more = len(set(cookies) - set(arrived)), len(arrived) - len(set(arrived) & set(cookies))
            self._world.fault(f"{what}: of {len(cookies)} datagrams that nothing dropped {missing} are lost, and {more} came unasked")


def traffic(world: World, random: Random) -> None:
    """Datagrams through the router, of which one hook drops some, and along tracked connections."""
    router, pair = world.networks["router"].namespaces, world.networks["tracked"].namespaces
    with (
        HookModule(router["router"]) as module,
        _Flow(world, router["client"], router["server"], "10.0.2.2") as passing,
        _Flow(world, pair["peer"], pair["host"], "10.0.0.1", ports=8) as tracked,
    ):
        module.add_hook(Hook(DROPPED, _V4, hook_number(_V4, "FORWARD"), 0, _DROP, cookie=DROPPED))
        asked, cookie = 0, _FIRST_COOKIE
        while world.goes_on():
            through = random.random() < 0.7
            flow, wanted = (passing, random.randrange(1, 48)) if through else (tracked, random.randrange(1, 32))
            cookies = [*range(cookie, cookie + wanted)]
            cookie += wanted
            if through and random.random() < 0.5:
                asked += passing.send([DROPPED] * random.randrange(1, 16))
            if flow.send(cookies) != wanted:
                world.fault("a datagram could not be sent")
                continue
            flow.balance("through the router" if through else "along tracked connections", cookies)
        state = module.hook(DROPPED)
        deadline = time.monotonic() + _SETTLE_S
        while state.matches < asked and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            state = module.hook(DROPPED)
        module.del_hook(DROPPED)
        world.add("datagrams that a hook dropped", state.matches)
        if (late := passing.sink.take()) or state.matches != asked:
            world.fault(f"of {asked} datagrams that one hook drops it dropped {state.matches}; {len(late)} came all the same")


def queueing(world: World, random: Random) -> None:
    """Datagrams that wait in a queue while hooks come and go, and whose listener answers late, in any order."""
    host = world.namespace("queued", "host")
    with (
        HookModule(host) as module,
        Listener(host, Listen("host", _QUEUE)) as listener,
        _Flow(world, world.namespace("queued", "peer"), host, "10.0.0.1") as flow,
    ):
        burst = _Burst(world, random, host, listener, flow)
        queue = Verdict(VerdictKind.QUEUE, queue=_QUEUE)
        module.add_hook(Hook(_QUEUEING, _V4, hook_number(_V4, "INPUT"), 0, queue))
        while world.goes_on():
            before, count = _not_queued(host), random.randrange(1, 24)
            sent = flow.send([*range(_FIRST_COOKIE, _FIRST_COOKIE + count)])
            time.sleep(random.random() / 50)
            burst.answer(sent, before)
        module.del_hook(_QUEUEING)


def _not_queued(host: Namespace) -> int:
    """Packets that a queue has dropped, for want of room there or at its listener, by the kernel's books."""
    state = dict(queues(host))[_QUEUE]
    return state.dropped + state.user_dropped


@dataclass(frozen=True, slots=True)
class _Burst:
    """Datagrams of which each is accounted for: it has arrived, an answer dropped it, it was flushed, or it found no room in the queue."""

    world: World
    random: Random
    host: Namespace
    listener: Listener
    flow: _Flow

    def answer(self, sent: int, before: int) -> None:
        """Answer, in any order, until all of them are accounted for.

        :param before: how many the queue had not taken before they were sent
        """
        def refused() -> int:
            return _not_queued(self.host) - before

        arrived = dropped = flushed = 0
        deadline = time.monotonic() + _SETTLE_S
        while (known := arrived + dropped + flushed + refused()) < sent and time.monotonic() < deadline:
            for verdict, number in self._answers():
                flushed += number == errno.ENOENT
                dropped += number == 0 and verdict is VerdictKind.DROP
            arrived += len(self.flow.sink.take())
            time.sleep(_PAUSE_S)
        self.world.add("datagrams arrived", arrived)
        self.world.add("datagrams that a listener dropped", dropped)
        self.world.add("datagrams flushed from a queue", flushed + refused())
        if known != sent:
            self.world.fault(f"of {sent} datagrams to a queue {known} are accounted for: {arrived} arrived, {dropped} were dropped by an "
                             f"answer, {flushed} flushed, {refused()} not queued")

    def _answers(self) -> Iterator[tuple[VerdictKind, int]]:
        """An answer for each that waits, and the errno that it met."""
        waiting = self.listener.waiting()
        for one in self.random.sample(waiting, len(waiting)):
            verdict = VerdictKind.DROP if self.random.random() < 0.2 else VerdictKind.ACCEPT
            number = self.listener.answer(verdict, one.cookie)
            self.world.add("answers, late")
            if number not in (0, errno.ENOENT):
                self.world.fault(f"a verdict was refused with {errno.errorcode.get(number, number)}")
            yield verdict, number


def flushing(world: World, random: Random) -> None:
    """The connections of the tracked flow are forgotten while it goes on; now and then conntrack's own hooks go, too."""
    from pyroute2 import NFCTSocket  # noqa: PLC0415 - seconds in an emulated guest

    with world.namespace("tracked", "host").inside():
        if not _nft(world, _TRACKING):
            return
        with NFCTSocket() as connections:
            while world.goes_on():
                connections.flush()
                world.add("connection tables flushed")
                time.sleep(random.random() / 20)
                if random.random() < 0.05 and _nft(world, "delete table ip tracked") and not _nft(world, _TRACKING):
                    return


# Namespaces and devices

def dying(world: World, random: Random) -> None:
    """Namespaces and devices die with hooks, chains and queued packets in them."""
    number = 0
    while world.goes_on():
        number += 1
        doomed = netns.create(f"stress-{number}")
        world.add("namespaces made")
        with ExitStack() as stack:
            with doomed.inside():
                routes = stack.enter_context(iproute())
                routes.link("set", index=1, state="up")
                routes.link("add", kind="veth", ifname="doomed", peer={"ifname": "other"})
                (index,) = routes.link_lookup(ifname="doomed")
                world.add("devices made", 2)
                chain = "table inet d { chain c { type filter hook input priority 5; counter; }; }"
                if random.random() < 0.3:
                    _nft(world, chain)
            module = stack.enter_context(HookModule(doomed))
            _doom(world, random, module, doomed, index)
            if random.random() < 0.5:
                with doomed.inside():
                    routes.link("del", index=index)
                world.add("devices deleted", 2)
        doomed.delete()
        world.add("namespaces deleted")


def _doom(world: World, random: Random, module: HookModule, doomed: Namespace, index: int) -> None:
    """Hooks of a namespace that nobody will unregister, and packets that nobody will answer for."""
    wanted = [Hook(number, _V4, hook_number(_V4, random.choice(("INPUT", "OUTPUT", "POSTROUTING"))), number, _ACCEPT)
              for number in range(_FIRST_ID, _FIRST_ID + random.randrange(1, 20))]
    if any(place.pf is _NETDEV for place in world.places):
        wanted.append(Hook(_FIRST_ID - 1, _NETDEV, hook_number(_NETDEV, "INGRESS"), 0, _ACCEPT, index))
    refusals = [refusal for refusal in module.add_hooks(wanted) if refusal]
    for refusal in refusals:
        world.fault(f"a hook was refused in a new namespace: {refusal}")
    world.add("hooks registered", len(wanted) - len(refusals))
    if random.random() < 0.5:
        with Listener(doomed, Listen("doomed", _QUEUE)):
            module.add_hook(Hook(_QUEUEING, _V4, hook_number(_V4, "OUTPUT"), 100, Verdict(VerdictKind.QUEUE, queue=_QUEUE)))
            world.add("hooks registered")
            _to_itself(doomed, 8)
    else:
        _to_itself(doomed, 8)


def _to_itself(namespace: Namespace, count: int) -> None:
    """Datagrams through the namespace's ``lo``; nobody takes them."""
    with namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        for cookie in range(_FIRST_COOKIE, _FIRST_COOKIE + count):
            with suppress(OSError):
                sender.sendto(payload(64, cookie), ("127.0.0.1", PORT))


TASKS: dict[str, tuple[int, Callable[[World, Random], None]]] = {
    "hooks": (0, hooks), "flushing": (0, flushing),
    "chains": (1, chains), "links": (1, links), "traffic": (1, traffic), "queueing": (1, queueing), "dying": (1, dying),
}
"""Name → the processor that it stays on, and what it does."""
