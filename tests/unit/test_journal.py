"""Readings of one array are held against each other: the scenario's own record, the module's, the kernel's list."""

from __future__ import annotations

import struct

from harness.guest.genetlink import attribute
from harness.guest.journal import Journal
from harness.guest.nfnetlink_hook import HookList, ListedHook, decoded
from harness.netfilter import Family
from harness.outcome.types import OUR_MODULE, OURS, Slot
from harness.scenario.steps.hooks import Register

KEY = "host/IPV4/INPUT"
A, B = (Register(name, "host", Family.IPV4, "INPUT", priority) for name, priority in (("a", 0), ("b", 1)))
SLOTS = (Slot(0, OURS, OUR_MODULE, 0, label="a"), Slot(1, OURS, OUR_MODULE, 1, label="b"))


def body(function: str, module: str | None, priority: int) -> bytes:
    owner = attribute(5, module.encode() + b"\0") if module else b""
    return struct.pack("!BBH", 2, 0, 0) + owner + attribute(4, function.encode() + b"\0") + attribute(2, struct.pack("!i", priority))


class Listed(HookList):
    """A list that says what it is told to."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = bodies

    def read(self, pf: Family, hook: int, device: str | None = None) -> tuple[bytes, ...]:
        assert (pf, hook, device) == (Family.IPV4, 1, None)
        return self.bodies


def journal(*bodies: bytes) -> Journal:
    found = Journal({"host": Listed(*bodies)})
    for hook in (A, B):
        found.added(hook)
    return found


OUR_BODIES = (body(OURS, OUR_MODULE, 0), body(OURS, OUR_MODULE, 1))


def test_a_message_is_decoded() -> None:
    assert decoded(body("accept_all", None, -2147483648)) == ListedHook("accept_all", None, -2147483648)


def test_readings_that_agree_are_no_dispute() -> None:
    assert list(journal(*OUR_BODIES).after(((KEY, SLOTS),))) == []


def test_an_array_without_a_registered_hook_is_a_dispute() -> None:
    (dispute,) = journal(OUR_BODIES[0]).after(((KEY, SLOTS[:1]),))
    assert dispute == f"{KEY}: the scenario has registered a b there, and the array has a"


def test_a_registration_that_was_taken_back_is_not_expected() -> None:
    found = journal(OUR_BODIES[1])
    found.removed(A)
    assert list(found.after(((KEY, SLOTS[1:]),))) == []


def test_a_list_of_something_else_is_a_dispute() -> None:
    (dispute,) = journal(*reversed(OUR_BODIES)).after(((KEY, SLOTS),))
    assert dispute.endswith("nfnetlink_hook lists nfharness_hook [nfharness] at 1, nfharness_hook [nfharness] at 0")


def test_a_change_between_two_steps_is_a_dispute_of_the_second() -> None:
    lists = Listed(*OUR_BODIES)
    found = journal()
    found.lists["host"] = lists
    assert list(found.after(((KEY, SLOTS),))) == []
    assert list(found.before((A,))) == []
    lists.bodies = (*OUR_BODIES, body("stranger", None, 9))
    (dispute,) = found.before((A,))
    assert dispute.endswith("at 1, stranger at 9")


def test_a_change_anywhere_is_a_dispute_at_the_end() -> None:
    found = journal(*OUR_BODIES)
    assert list(found.after(((KEY, SLOTS),))) == []
    assert list(found.unchanged(((KEY, SLOTS), ("host/IPV6/INPUT", ())))) == []
    (dispute,) = found.unchanged((("host/IPV6/INPUT", SLOTS[:1]),))
    assert dispute == "host/IPV6/INPUT: the array was left with nothing, and now has nfharness_hook [nfharness] at 0"


def test_what_is_lost_with_a_device_is_not_expected_any_more() -> None:
    found = Journal({})
    device = Register("d", "host", Family.NETDEV, "INGRESS", device="eth0")
    found.added(device)
    found.lost("host", "eth0")
    assert list(found.after((("host/NETDEV/INGRESS/eth0", ()),))) == []
