"""Hooks that are registered while packets are watched: the arrays, and which of them a packet met."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.netfilter import Family
from harness.outcome import codec
from harness.outcome import registration as words
from harness.outcome.types import Missed, Outcome, Registration, Slot
from harness.walks import pcapng, short
from harness.walks.assembly import assembled
from harness.walks.events import ArraySlot, Did, Entry, Event, Exit, Registered, in_order
from harness.walks.recording import Recording
from harness.walks.render import render_walks
from harness.walks.symbol import Symbol
from harness.walks.timeline import timeline

ROUTER, OUTPUT = 7, 3
NFT, APPARMOR, DUMMY, CORE, ADD = 0xFFFFFFFFC0000000, 0x1000, 0x2000, 0x3000, 0xFFFFFFFFC0001000
SYMBOLS = {NFT: Symbol(NFT, "nft_do_chain_inet", "nf_tables"), APPARMOR: Symbol(APPARMOR, "apparmor_ip_postroute", None),
           DUMMY: Symbol(DUMMY, "accept_all", None), CORE + 8: Symbol(CORE, "nf_register_net_hook", None),
           ADD + 8: Symbol(ADD, "nf_tables_addchain.constprop.0", "nf_tables")}
#: Addresses of arrays.
FIRST, SECOND = 0xA000, 0xB000
OLD, NEW = Slot(0, "apparmor_ip_postroute", None, -225), Slot(1, "nft_do_chain_inet", "nf_tables", 0, chain="inet fw out")


def slots(registration: int, time: int, *, after: bool, functions: tuple[int, ...]) -> list[Event]:
    named = {NFT: (0, "inet fw out"), APPARMOR: (-225, None), DUMMY: (-2**31, None)}
    return [ArraySlot(registration, after, place, function, named[function][0], time, named[function][1])
            for place, function in enumerate(functions)]


def registered(number: int, time: int, *, did: Did = Did.REGISTERED, before: int = FIRST, after: int = SECOND, result: int = 0,
               pf: int = 2, hook: int = OUTPUT, netns: int = ROUTER, device: str = "") -> Registered:
    return Registered(number, did, pf, hook, netns, result, NFT, 0, 2, before, after, 1, 2, device, "nft", 41, 0, (CORE + 8, ADD + 8), time,
                      "inet fw out")


def entry(traversal: int, time: int, array: int, *, pf: int = 2, hook: int = OUTPUT, devices: tuple[str, str] = ("", "eth0")) -> Entry:
    return Entry(traversal, traversal, time, pf, hook, ROUTER, *devices, 0, 1, 0x0800, 60, bytes([0x45]) + bytes(19), b"", array=array)


def seen(*events: Event, sees: bool = True) -> Outcome:
    return assembled(Recording(in_order(events), SYMBOLS.get, namespaces=[(0, ROUTER, "router")], sees_registrations=sees, begin=0))


def came() -> list[Event]:
    return [*slots(9, 50, after=False, functions=(APPARMOR,)), *slots(9, 60, after=True, functions=(APPARMOR, NFT)), registered(9, 60)]


def went() -> list[Event]:
    return [*slots(9, 60, after=False, functions=(APPARMOR, DUMMY)), registered(9, 60, did=Did.UNREGISTERED, before=SECOND, after=FIRST),
            *slots(9, 60, after=True, functions=(APPARMOR,))]


def test_a_registration_says_what_where_by_whom_and_what_it_made_of_the_array() -> None:
    assert seen(*came()).registrations == (Registration(
        1, "registered", 60, Family.IPV4, OUTPUT, "router", "", NEW, 0, "nft", 41,
        ("nf_register_net_hook", "nf_tables_addchain [nf_tables]"), 2, 1, (OLD,), (OLD, NEW), 1, 2),)


def test_what_is_unregistered_is_a_dummy_in_the_old_array() -> None:
    gone, = seen(*went()).registrations
    assert (gone.what, gone.hook.index, [slot.dummy for slot in gone.before], gone.after) == ("unregistered", 1, [False, True], (OLD,))
    assert words.array(gone.before, 2, gone.hook) == "apparmor_ip_postroute (-225), dummy, until now inet fw out"


def test_of_two_dummies_nobody_knows_which_one_it_was() -> None:
    gone, = seen(*slots(9, 60, after=False, functions=(DUMMY, DUMMY)), registered(9, 60, did=Did.UNREGISTERED)).registrations
    assert (gone.hook.index, words.array(gone.before, 2, gone.hook)) == (-1, "dummy, dummy")


def test_a_refused_registration_changes_no_generation() -> None:
    refused, later = seen(registered(9, 50, result=-7, after=0), registered(10, 60)).registrations
    assert (refused.errno, refused.generation, later.generation) == (7, None, 1)
    assert words.headline(refused).endswith("priority 0: refused (E2BIG)")


def traversed(*events: Event) -> list[tuple[int | None, tuple[Missed, ...]]]:
    return [(at.generation, at.missed) for packet in seen(*events).packets for at in packet.traversals]


def test_a_traversal_says_which_generation_it_ran_on() -> None:
    assert traversed(entry(1, 10, FIRST), Exit(1, 1, 20), *came(), entry(2, 70, SECOND), Exit(2, 1, 80)) == [(0, ()), (1, ())]


def test_an_array_whose_memory_is_used_again_is_the_newest_that_there_was() -> None:
    events = (*came(), registered(10, 100, did=Did.UNREGISTERED, before=SECOND, after=FIRST))
    assert traversed(entry(1, 10, FIRST), *events, entry(2, 70, SECOND), entry(3, 110, FIRST)) == [(0, ()), (1, ()), (2, ())]


@pytest.mark.parametrize(("time", "before"), [(10, False), (70, True)])
def test_a_hook_that_came_too_late_for_a_packet_is_told(time: int, before: bool) -> None:
    missed = Missed(1, "registered", "inet fw out", before)
    assert traversed(entry(1, time, FIRST), *came(), Exit(1, 1, 90)) == [(0, (missed,))]
    when = "before it began" if before else "while it ran"
    assert words.missed([missed]) == f"inet fw out, registered {when} (registration 1), came too late for it"


def test_an_array_that_no_registration_left_has_no_generation() -> None:
    assert traversed(*came(), entry(1, 70, 0xC000)) == [(None, ())]


def test_a_point_where_nothing_was_registered_is_at_its_first_generation() -> None:
    assert traversed(*came(), entry(1, 70, 0xC000, hook=0)) == [(0, ())]


def test_a_session_that_sees_no_registrations_tells_no_generation() -> None:
    packet, = seen(entry(1, 70, FIRST), sees=False).packets
    assert packet.traversals[0].generation is None


@pytest.mark.parametrize(("pf", "hook"), [(Family.NETDEV, 0), (Family.INET, 5)])
def test_a_device_s_array_is_netdev_s_and_inet_s(pf: Family, hook: int) -> None:
    on_eth0 = registered(9, 60, pf=pf, hook=hook, device="eth0")
    ingress = (entry(number, 70, SECOND, pf=5, hook=0, devices=(device, "")) for number, device in enumerate(("eth0", "eth1"), 1))
    assert traversed(on_eth0, *ingress) == [(1, ()), (0, ())]


def test_nat_s_array_is_no_hook_point_s() -> None:
    inserted, = seen(registered(9, 60, did=Did.INSERTED, netns=0)).registrations
    assert (inserted.netns, inserted.generation) == ("", None)
    assert words.headline(inserted) == "registered inet fw out at an array of no hook point (OUTPUT), priority 0"


def test_who_is_the_process_and_what_called_core_c() -> None:
    registration, = seen(*came()).registrations
    assert words.who(registration) == "by nft, process 41, in nf_tables_addchain [nf_tables]"


def test_a_transaction_of_nftables_is_named() -> None:
    registration, = seen(*came()).registrations
    batch = replace(registration, by=("nf_tables_commit [nf_tables]", "nfnetlink_rcv_batch [nfnetlink]"))
    assert words.who(batch) == "by nft, process 41, in nf_tables_commit [nf_tables], a transaction of nftables'"


def test_an_array_with_more_slots_than_were_told_says_so() -> None:
    assert words.array([OLD], 70) == "apparmor_ip_postroute (-225), … and 69 more"


def test_registrations_stand_between_packets_in_the_order_of_time() -> None:
    outcome = seen(entry(1, 10, FIRST), Exit(1, 1, 20), *came(), entry(2, 70, SECOND), Exit(2, 1, 80),
                   registered(10, 100, did=Did.UNREGISTERED, before=SECOND, after=FIRST))
    assert [one.number if isinstance(one, Registration) else f"packet {one.number}" for one in timeline(outcome)] == [
        "packet 1", 1, "packet 2", 2]


def test_json_makes_the_same_of_it() -> None:
    outcome = seen(*came(), entry(1, 70, FIRST), Exit(1, 1, 90))
    again = codec.from_json(codec.to_json(outcome))
    assert again.registrations == outcome.registrations
    assert [(slot.chain, slot.dummy) for slot in again.registrations[0].after] == [(None, False), ("inet fw out", False)]
    assert again.packets[0].traversals[0].missed == outcome.packets[0].traversals[0].missed != ()


def test_the_tree_has_the_arrays_and_the_generation() -> None:
    outcome = seen(*came(), entry(1, 70, FIRST), Exit(1, 1, 90))
    out = io.StringIO()
    render_walks(Console(file=out, width=120), outcome)
    lines = out.getvalue().splitlines()
    assert lines[1:7] == [
        "registration 1  registered inet fw out at router OUTPUT, priority 0  at 0.000000 s",
        "│  by nft, process 41, in nf_tables_addchain [nf_tables]",
        "│  before: apparmor_ip_postroute (-225)",
        "│  after:  apparmor_ip_postroute (-225), inet fw out (0)",
        "└─ generation 0 → 1, slots 1 → 2, nf_hooks_needed 2",
        ""]
    assert "├─ OUTPUT  router  out eth0  generation 0" in lines
    assert "│  old array: inet fw out, registered before it began (registration 1), came too late for it" in lines


def test_a_line_has_it_all() -> None:
    outcome = seen(*came(), entry(1, 70, FIRST), Exit(1, 1, 90))
    assert short.registered(outcome.registrations[0]).plain == (
        "registration 1  0.000000 s  registered inet fw out at router OUTPUT, priority 0  "
        "by nft, process 41, in nf_tables_addchain [nf_tables]  generation 0 → 1, slots 1 → 2, nf_hooks_needed 2")
    assert short.one_line(outcome.packets[0]).plain.endswith(
        "old array: inet fw out, registered before it began (registration 1), came too late for it")


def test_a_block_of_a_pcapng_file_has_what_came_before_it_as_a_comment() -> None:
    written = pcapng.written(seen(*came(), entry(1, 70, SECOND), Exit(1, 1, 90), registered(10, 100, did=Did.UNREGISTERED)))
    assert written.index(b"registration 1: ") < written.index(b"generation 1 of the array") < written.index(b"registration 2: ")
