"""nfharness.ko: every request that makes no sense, or is not allowed, is refused with its reason and changes nothing."""

from __future__ import annotations

import errno
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from harness.guest import ct, raw
from harness.guest.executor import execute
from harness.guest.genetlink import GenericNetlink, NetlinkRefused, attribute
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.raw import RawHook
from harness.guest.topology import Network
from harness.guest.uapi import Attribute, Command, Tamper
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario import BUILTIN
from harness.scenario.steps.conntrack import ConntrackTuple

pytestmark = pytest.mark.usefixtures("nfharness_ko")

InChild = Callable[[Callable[[], object]], str]

INPUT, OUTPUT = 1, 3
ANY = Hook(1, Family.IPV4, INPUT, 0, Verdict(VerdictKind.ACCEPT))

REFUSED = [
    (replace(ANY, id=0), errno.ERANGE, Attribute.ID, "integer out of range"),
    (replace(ANY, hook=5), errno.EINVAL, Attribute.HOOKNUM, "no hook point of that number"),
    (replace(ANY, pf=Family.ARP, hook=3), errno.EINVAL, Attribute.HOOKNUM, "no hook point of that number"),
    (replace(ANY, pf=Family.BRIDGE, hook=5), errno.EINVAL, Attribute.HOOKNUM, "no hook point of that number"),
    (replace(ANY, pf=Family.INET, hook=6), errno.EINVAL, Attribute.HOOKNUM, "no hook point of that number"),
    (replace(ANY, pf=Family.NETDEV, hook=2, ifindex=1), errno.EINVAL, Attribute.HOOKNUM, "no hook point of that number"),
    (replace(ANY, pf=Family.NETDEV, hook=0), errno.EINVAL, None, "IFINDEX is missing"),
    (replace(ANY, pf=Family.INET, hook=5), errno.EINVAL, None, "IFINDEX is missing"),
    (replace(ANY, ifindex=1), errno.EINVAL, Attribute.IFINDEX, "belong to a device"),
    (replace(ANY, pf=Family.NETDEV, hook=0, ifindex=4242), errno.ENODEV, None, "no device of that IFINDEX"),
    (replace(ANY, verdict=Verdict(VerdictKind.REPEAT)), errno.EINVAL, Attribute.VERDICT, "or NF_QUEUE"),
    (replace(ANY, verdict=Verdict(VerdictKind.STOP)), errno.EINVAL, Attribute.VERDICT, "or NF_QUEUE"),
    (replace(ANY, verdict=Verdict(VerdictKind.DROP, errno=4096)), errno.ERANGE, Attribute.ERRNO, "integer out of range"),
    (replace(ANY, verdict=Verdict(VerdictKind.DROP, errno=0x8001)), errno.ERANGE, Attribute.ERRNO, "integer out of range"),
    (replace(ANY, verdict=Verdict(VerdictKind.ACCEPT, errno=1)), errno.EINVAL, Attribute.ERRNO, "NF_DROP and NF_STOLEN only"),
    (replace(ANY, verdict=Verdict(VerdictKind.DROP, bypass=True)), errno.EINVAL, None, "NF_QUEUE only"),
    (replace(ANY, pf=Family.ARP, verdict=Verdict(VerdictKind.QUEUE)), errno.EOPNOTSUPP, Attribute.VERDICT, "cannot reinject"),
    (replace(ANY, pf=Family.NETDEV, hook=0, ifindex=1, verdict=Verdict(VerdictKind.QUEUE)), errno.EOPNOTSUPP, Attribute.VERDICT,
     "cannot reinject"),
    (replace(ANY, reinject_verdict=VerdictKind.REPEAT), errno.EINVAL, Attribute.REINJECT_VERDICT, "would go on for ever"),
    (replace(ANY, reinject_verdict=VerdictKind.REPEAT, times=65), errno.ERANGE, Attribute.TIMES, "integer out of range"),
    (replace(ANY, times=1), errno.EINVAL, Attribute.TIMES, "REINJECT_VERDICT only"),
    (replace(ANY, pf=Family.ARP, reinject_verdict=VerdictKind.DROP), errno.EOPNOTSUPP, Attribute.REINJECT_VERDICT, "reinjects no packet"),
]


@pytest.mark.parametrize(("hook", "number", "named", "reason"), REFUSED,
                         ids=[f"{number}-{reason}" for number, (*_, reason) in enumerate(REFUSED, 1)])
def test_a_hook_that_makes_no_sense_is_refused_and_nothing_registered(
        module: HookModule, hook: Hook, number: int, named: Attribute | None, reason: str) -> None:
    with pytest.raises(HookRefused) as refused:
        module.add_hook(hook)
    assert (refused.value.errno, refused.value.attribute) == (number, named)
    assert reason in refused.value.reason
    assert module.hooks() == []


def test_an_id_that_is_taken_is_refused(module: HookModule) -> None:
    module.add_hook(ANY)
    with pytest.raises(HookRefused, match="has a hook with this ID already") as refused:
        module.add_hook(replace(ANY, hook=OUTPUT))
    assert refused.value.errno == errno.EEXIST
    assert [state.hook for state in module.hooks()] == [ANY]


def test_an_id_that_is_not_there_is_refused(module: HookModule) -> None:
    for request in (module.del_hook, module.hook):
        with pytest.raises(HookRefused, match="has no hook with this ID") as refused:
            request(7)
        assert (refused.value.errno, refused.value.attribute) == (errno.ENOENT, Attribute.ID)


@pytest.mark.parametrize(("point", "number", "reason"), [
    ((Family.INET, INPUT, 0), errno.EINVAL, "ask for IPV4 and IPV6"),
    ((Family.IPV4, 5, 0), errno.EINVAL, "no hook point of that number"),
    ((Family.IPV4, 0, 1), errno.EINVAL, "belong to a device"),
    ((Family.NETDEV, 0, 0), errno.EINVAL, "IFINDEX is missing"),
    ((Family.NETDEV, 0, 4242), errno.ENODEV, "no device of that IFINDEX"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_dump_of_a_point_that_does_not_exist_is_refused(
        module: HookModule, point: tuple[Family, int, int], number: int, reason: str) -> None:
    with pytest.raises(HookRefused) as refused:
        module.slots(*point)
    assert refused.value.errno == number
    assert reason in refused.value.reason


def numbers(**values: int) -> dict[Attribute, bytes]:
    formats = {Attribute.ID: "=Q", Attribute.PF: "=B", Attribute.PRIORITY: "=i"}
    return {Attribute[name]: struct.pack(formats.get(Attribute[name], "=I"), value) for name, value in values.items()}


COMPLETE = numbers(ID=1, PF=Family.IPV4, HOOKNUM=INPUT, PRIORITY=0, VERDICT=VerdictKind.ACCEPT)


@pytest.fixture
def netlink(network: Network) -> Iterator[GenericNetlink]:
    with network.namespaces["host"].inside(), GenericNetlink("nfharness", 1) as netlink:
        yield netlink


def refusal(netlink: GenericNetlink, command: Command, values: dict[Attribute, bytes]) -> NetlinkRefused:
    with pytest.raises(NetlinkRefused) as refused:
        netlink.request(command, b"".join(itertools.starmap(attribute, values.items())))
    return refused.value


@pytest.mark.parametrize("missing", COMPLETE, ids=lambda kind: kind.name)
def test_a_hook_without_a_needed_attribute_is_refused_by_its_name(netlink: GenericNetlink, missing: Attribute) -> None:
    refused = refusal(netlink, Command.HOOK_ADD, {kind: value for kind, value in COMPLETE.items() if kind != missing})
    assert (refused.errno, refused.reason) == (errno.EINVAL, f"attribute {missing.name} is missing")


def test_a_queue_without_its_number_is_refused(netlink: GenericNetlink) -> None:
    refused = refusal(netlink, Command.HOOK_ADD, COMPLETE | numbers(VERDICT=VerdictKind.QUEUE))
    assert (refused.errno, refused.reason) == (errno.EINVAL, "attribute QUEUE_NUM is missing: the verdict is NF_QUEUE")


@pytest.mark.parametrize("pf", [0, 4, 6, 11, 12, 13, 255])
def test_a_family_without_hook_points_is_refused(netlink: GenericNetlink, pf: int) -> None:
    refused = refusal(netlink, Command.HOOK_ADD, COMPLETE | numbers(PF=pf))
    assert (refused.errno, refused.attribute) == (errno.EAFNOSUPPORT, Attribute.PF)


@pytest.mark.parametrize("kind", COMPLETE, ids=lambda kind: kind.name)
def test_an_attribute_of_the_wrong_length_is_refused(netlink: GenericNetlink, kind: Attribute) -> None:
    refused = refusal(netlink, Command.HOOK_ADD, COMPLETE | {kind: COMPLETE[kind] + b"\0"})
    assert (refused.errno, refused.attribute, bool(refused.reason)) == (errno.EINVAL, kind, True)


@pytest.mark.parametrize(("command", "kind"), [
    (Command.HOOK_ADD, Attribute.CALLS),
    (Command.HOOK_DEL, Attribute.PF),
    (Command.HOOK_GET, Attribute.COOKIE),
    (Command.HOOK_FLUSH, Attribute.ID),
], ids=lambda value: value.name)
def test_an_attribute_that_a_command_does_not_take_is_refused(netlink: GenericNetlink, command: Command, kind: Attribute) -> None:
    wanted = COMPLETE if command is Command.HOOK_ADD else {}
    refused = refusal(netlink, command, wanted | {kind: struct.pack("=Q", 1)})
    assert refused.errno == errno.EINVAL
    assert refused.reason in ("Unknown attribute type", "Unsupported attribute")


def test_a_dump_of_all_hooks_takes_no_attributes(netlink: GenericNetlink) -> None:
    with pytest.raises(NetlinkRefused, match="a dump lists every hook and takes no attributes"):
        netlink.dump(Command.HOOK_GET, attribute(Attribute.ID, struct.pack("=Q", 1)))


# Permissions

COMMANDS: dict[str, Callable[[HookModule], object]] = {
    "add": lambda module: module.add_hook(ANY),
    "del": lambda module: module.del_hook(1),
    "get": lambda module: module.hook(1),
    "flush": lambda module: module.flush(),
    "dump": lambda module: module.hooks(),
    "slots": lambda module: module.slots(Family.IPV4, INPUT),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_cap_net_admin_every_command_is_refused(network: Network, in_child: InChild, command: str) -> None:
    def as_nobody() -> object:
        with network.namespaces["host"].inside():
            module = HookModule()
            os.setresuid(65534, 65534, 65534)
            return COMMANDS[command](module)

    answer = in_child(as_nobody)
    assert f"[Errno {errno.EPERM}]" in answer, answer


def test_the_owner_of_a_user_namespace_rules_its_network_but_learns_no_address(
        in_child: InChild, unshare_user_and_network: Callable[[], None]) -> None:
    def in_a_user_namespace() -> object:
        os.setresuid(65534, 65534, 65534)
        unshare_user_and_network()
        with HookModule() as module:
            module.add_hook(ANY)
            return [(slot.hook_id, slot.function, slot.address) for slot in module.slots(Family.IPV4, INPUT)]

    assert in_child(in_a_user_namespace) == "[(1, 'nfharness_hook', None)]"


def test_what_makes_the_kernel_warn_or_looks_beyond_is_refused_to_root_of_a_user_namespace(
        in_child: InChild, unshare_user_and_network: Callable[[], None]) -> None:
    def in_a_user_namespace() -> object:
        os.setresuid(65534, 65534, 65534)
        unshare_user_and_network()
        with HookModule() as module:
            module.add_hook(ANY)
            raw.insert(module, RawHook(2, 0, 0, VerdictKind.STOLEN))
            return "\n".join(filter(None, (_not_refused(name, partial(request, module)) for name, request in WARNING.items())))

    warn_again()
    with KernelLog() as log:
        assert in_child(in_a_user_namespace) == ""
        assert log.splats() == []


@pytest.mark.parametrize(("unshared", "said"), [(True, "this is a user namespace"), (False, "scenarios need CAP_NET_ADMIN")],
                         ids=["root of a user namespace", "nobody"])
def test_a_scenario_of_an_unprivileged_user_is_refused_in_one_sentence(
        in_child: InChild, unshare_user_and_network: Callable[[], None], unshared: bool, said: str) -> None:
    def unprivileged() -> object:
        os.setresuid(65534, 65534, 65534)
        if unshared:
            unshare_user_and_network()
        return execute(BUILTIN["local-in"])

    assert in_child(unprivileged).startswith(f"GuestError: {said}")


def _not_refused(name: str, request: Callable[[], object]) -> str:
    try:
        request()
    except HookRefused as refused:
        if (refused.errno, refused.reason) == (errno.EPERM, "needs CAP_NET_ADMIN in the initial user namespace"):
            return ""
        return f"{name}: {refused} {refused.reason}"
    return f"{name}: not refused"


QUEUE = Verdict(VerdictKind.QUEUE, queue=1)
FLOW = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 9)
#: What only the machine's administrator may ask for.
WARNING: dict[str, Callable[[HookModule], object]] = {
    "a queue": lambda module: module.add_hook(replace(ANY, id=9, verdict=QUEUE)),
    "a queue in a batch": lambda module: module.add_batch([replace(ANY, id=9), replace(ANY, id=10, verdict=QUEUE)]),
    "an answer to nf_reinject": lambda module: module.add_hook(replace(ANY, id=9, reinject_verdict=VerdictKind.STOP)),
    "unchecked": lambda module: module.add_hook(replace(ANY, id=9, hook=7, unchecked=True)),
    "unchecked in a batch": lambda module: module.add_batch([replace(ANY, id=9, hook=7, unchecked=True)]),
    "absent": lambda module: module.del_absent_hook(Family.IPV4, INPUT),
    "absent, unchecked": lambda module: module.del_absent_hook(Family.IPV4, 7, unchecked=True),
    **{f"raw {verdict:#x}": lambda module, verdict=verdict: raw.insert(module, RawHook(9, 0, 0, verdict))  # type: ignore[misc]
       for verdict in (VerdictKind.QUEUE | 1 << 16, VerdictKind.REPEAT, VerdictKind.STOP, 6, 0xFF)},
    "alter": lambda module: raw.alter(module, 2, 5),
    "tamper": lambda module: module.tamper(1, Tamper.HIDE),
    "fail next": lambda module: module.fail_next(0),
    "fail netns": lambda module: module.fail_netns(True),
    "namespaces": lambda module: module.namespaces(),
    "keys": lambda module: module.keys(),
    "connection tracking": lambda module: ct.run(module, FLOW),
}
