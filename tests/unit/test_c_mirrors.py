"""What Python says twice, C says first: records, enums and attribute types are those of the C source."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from harness import netfilter
from harness.guest import module, uapi
from harness.guest.ct import Own
from harness.guest.uapi import Attribute, Command, Tamper
from harness.netfilter import HOOK_POINTS, Family, VerdictKind
from harness.outcome.facts import tracked
from harness.scenario import keys
from harness.scenario.steps import batches, raw
from harness.scenario.steps.packets import COOKIE_BYTES
from harness.trace import capture, chains, modules
from harness.walks import changes, events
from harness.walks.events import (
    NAME_BYTES,
    TABLE_NAME_BYTES,
    ArraySlot,
    Call,
    Came,
    Change,
    Decision,
    Did,
    End,
    Entry,
    Event,
    Exit,
    Gone,
    How,
    Loss,
    Registered,
    TableRule,
    Turn,
    decode,
    lost_record,
)
from harness.walks.framing import framed, records
from harness.walks.summary import COOKIE_MAGIC
from tests.c_source import Packed, constants, enumerators, packed, structure

ROOT = Path(__file__).parents[2]
HEADER = (ROOT / "kmod/nfharness.h").read_text()
MODULE = "".join(path.read_text() for path in sorted(ROOT.glob("kmod/*.c")))
PROGRAMS = "".join(path.read_text() for path in sorted(ROOT.glob("harness/trace/*.bpf.c")))
SIZES = {**constants(PROGRAMS), "NAME_BYTES": NAME_BYTES, "TABLE_NAME_BYTES": TABLE_NAME_BYTES, "MODULE_NAME_BYTES": 56}
TYPES = constants(PROGRAMS, "EV_")
RECORDS = [f"{record.lower()}_event" for record in TYPES if record != "CHAIN_CALL"] + ["chain_event"]

CALL: Packed = {"type": TYPES["CALL"], "flags": 3, "index": 4, "verdict": 13, "traversal": 6, "function": 7, "priv": 8, "id": 9,
                "priority": -10, "ns": 11, "time": 12}
CALLED = Call(6, 4, 7, 8, 9, -10, 13, 11, 12)
DECODED: list[tuple[str, Packed, Event]] = [
    ("entry_event", {
        "type": TYPES["ENTRY"], "flags": 4, "pf": 2, "hook": 3, "netns": 21, "traversal": 5, "skb": 6, "time": 7, "okfn": 24, "caller": 9,
        "len": 10, "answer": 11, "start": 12, "slots": 13, "protocol": 0x0008, "network": 14, "copied": 78, "loop": 15, "mark": 16,
        "ct": 29, "entries": 17, "zone": 18, "status": 19, "ct_id": 20,
        "in": b"in0", "out": b"out0", "head": bytes(range(64)), "tail": bytes(range(16)),
    }, Entry(traversal=5, skb=6, time=7, pf=2, hook=3, netns=21, indev="in0", outdev="out0", start=12, slots=13, protocol=0x0800, length=10,
             head=bytes(range(64)), tail=bytes(range(16)), okfn=24, loop=15, caller=9, answer=11, mark=16, ct=13, socket=True, array=17,
             zone=18, status=19, ct_id=20)),
    ("call_event", CALL, CALLED),
    ("chain_event", {"call": {**CALL, "type": TYPES["CHAIN_CALL"]},
                     "decision": {"function": 18, "handle": 14, "code": -3, "jumps": 2, "via": struct.pack("<4Q", 15, 16, 0, 0)},
                     "name": {"handle": 17, "kind": 19, "family": 1, "table": b"admin", "chain": b"forward"}},
     CALLED._replace(chain="inet admin forward", decision=Decision(18, 14, -3, (15, 16), 2, 17))),
    ("change_event", {"type": TYPES["CHANGE"], "ct": 13, "protocol": 0x0008, "network": 14, "copied": 78, "len": 2, "mark": 3,
                      "traversal": 4, "time": 5, "status": 6, "ct_id": 9, "zone": 10, "head": bytes(range(64))},
     Change(traversal=4, time=5, protocol=0x0800, length=2, head=bytes(range(64)), mark=3, ct=13, zone=10, status=6, ct_id=9)),
    ("rule_event", {"type": TYPES["RULE"], "flags": 2, "number": 3, "traversal": 4, "time": 5, "chain": b"web", "target": b"REJECT"},
     TableRule(traversal=4, time=5, number=3, chain="web", target="REJECT", policy=True)),
    ("exit_event", {"type": TYPES["EXIT"], "returned": -4, "traversal": 5, "time": 6}, Exit(5, -4, 6)),
    ("end_event", {"type": TYPES["END"], "how": 2, "reason": 3, "skb": 8, "location": 5, "dev": 6, "time": 7},
     End(skb=8, how=How.CONSUMED, reason=3, location=5, time=7, dev=6)),
    ("turn_event", {"type": TYPES["TURN"], "what": 2, "name": b"eth0", "skb": 3, "other": 4, "driver": 8, "time": 5},
     Turn(skb=3, what=Came.XMIT, time=5, other=4, device="eth0", driver=8)),
    ("gone_event", {"type": TYPES["GONE"], "netns": 4026532177, "time": 5}, Gone(netns=4026532177, time=5)),
    ("slot_event", {"type": TYPES["SLOT"], "after": 1, "index": 2, "priority": -3, "registration": 4, "function": 5, "priv": 6, "time": 7,
                    "name": {"kind": 0}},
     ArraySlot(registration=4, after=True, slot=2, function=5, priority=-3, time=7)),
    ("hook_event", {
        "type": TYPES["HOOK"], "how": 1, "pf": 3, "hook": 4, "flags": 8, "result": -5, "priority": -6, "key": 7, "netns": 22,
        "pid": 23, "link": 10, "registration": 11, "function": 12, "priv": 13, "before": 14, "after": 15, "time": 16,
        "slots_before": 17, "slots_after": 18,
        "process": b"loader", "device": b"eth0", "stack": struct.pack("<16Q", 19, 20, *[0] * 14),
        "name": {"kind": 2, "handle": 21, "family": 24, "chain": b"filter"},
    }, Registered(registration=11, did=Did.REGISTERED, pf=3, hook=4, netns=22, result=-5, function=12, priority=-6, key=7, before=14,
                  after=15, slots_before=17, slots_after=18, device="eth0", process="loader", pid=23, link=10, stack=(19, 20), time=16,
                  name="BPF program 21 filter")),
]


@pytest.mark.parametrize(("name", "members", "event"), DECODED, ids=[name for name, *_ in DECODED])
def test_a_record_is_decoded_as_the_program_lays_it_out(name: str, members: Packed, event: Event) -> None:
    assert decode([packed(structure(PROGRAMS, name, SIZES), members)]) == [event]


def test_the_record_of_what_was_lost_is_no_program_s_and_comes_out_of_a_ring_as_it_went_in() -> None:
    record = lost_record(1, 2, 3)
    assert record[0] not in TYPES.values()
    assert decode(records(framed(record) + framed(record))) == [Loss(1, 2, 3)] * 2


def test_an_entry_without_the_flag_has_no_tail() -> None:
    """Where the flags lie matters only to a record that lacks one: what is beside them is all ones in a sample."""
    (_, members, event), *_ = DECODED
    assert isinstance(event, Entry)
    assert decode([packed(structure(PROGRAMS, "entry_event", SIZES), {**members, "flags": 0})]) == [event._replace(tail=b"")]


def numbers(members: Packed) -> Iterator[int]:
    """The numbers of a sample, those of the structures in it included."""
    for value in members.values():
        if isinstance(value, int):
            yield value
        elif not isinstance(value, bytes):
            yield from numbers(value)


@pytest.mark.parametrize(("name", "members"), [(name, members) for name, members, _ in DECODED], ids=[name for name, *_ in DECODED])
def test_two_members_that_change_places_are_noticed(name: str, members: Packed) -> None:
    """No two members of a record have the same number in its sample."""
    found = [number for number in numbers(members) if number]
    assert len(found) == len(set(found))


def test_every_record_is_compared() -> None:
    assert {name for name, *_ in DECODED} == set(RECORDS)


def test_every_type_of_record_is_decoded_and_no_other() -> None:
    assert sorted([*TYPES.values(), lost_record(1, 2, 3)[0]]) == sorted(events._DECODERS)


@pytest.mark.parametrize(("name", "layout"), [
    ("entry_event", events._ENTRY), ("call_event", events._CALL), ("change_event", events._CHANGE),
    ("exit_event", events._EXIT), ("end_event", events._END),
    ("turn_event", events._TURN), ("gone_event", events._GONE), ("slot_event", events._SLOT), ("hook_event", events._HOOK),
    ("rule_event", events._RULE),
    ("module_event", modules._CHANGE),
])
def test_no_member_of_a_record_is_left_out(name: str, layout: Any) -> None:
    record = structure(PROGRAMS, name, SIZES)
    last = getattr(record, record._fields_[-1][0])
    assert layout.size == last.offset + last.size


def test_a_module_that_comes_or_goes_is_decoded_as_the_program_lays_it_out() -> None:
    record = packed(structure(PROGRAMS, "module_event", SIZES), {"module": 1, "time": 2, "gone": 3, "name": b"nf_tables"})
    assert modules._CHANGE.unpack(record) == (1, 2, 3, b"nf_tables".ljust(56, b"\0"))


def members(kind: type[IntEnum]) -> dict[str, int]:
    return {member.name: member.value for member in kind}


@pytest.mark.parametrize(("mirror", "name", "prefix"), [
    (Command, "nfharness_cmd", "NFHARNESS_CMD_"), (Attribute, "nfharness_attr", "NFHARNESS_A_"),
    (Tamper, "nfharness_tamper", "NFHARNESS_TAMPER_"),
])
def test_an_enum_of_the_modules_header_has_its_numbers(mirror: type[IntEnum], name: str, prefix: str) -> None:
    assert members(mirror) == enumerators(HEADER, name, prefix)


def test_the_flags_of_ct_run_have_the_headers_numbers() -> None:
    assert {flag.name: flag.value for flag in Own} == enumerators(HEADER, "nfharness_ct_own", "NFHARNESS_CT_OWN_")


def test_every_enum_of_the_header_has_a_mirror() -> None:
    assert re.findall(r"^enum (\w+) {", HEADER, re.MULTILINE) == ["nfharness_cmd", "nfharness_tamper", "nfharness_attr", "nfharness_ct_own"]


@pytest.mark.parametrize(("mirror", "names"), [
    (How, ("FREED", "CONSUMED", "RELEASED")),
    (Came, ("LOCAL", "XMIT", "ANSWERED", "SEGMENTED", "REASSEMBLED", "TAKEN", "MERGED", "DUPLICATED", "LINGERED", "SYNACKED",
            "FRAGMENTED", "REJECTED", "REPLIED", "REFUSED", "USELESS", "HEEDED", "CLONED", "TAPPED")),
    (Did, ("REGISTERED", "UNREGISTERED", "INSERTED", "DELETED")),
])
def test_what_becomes_of_an_skb_has_the_programs_numbers(mirror: type[IntEnum], names: tuple[str, ...]) -> None:
    assert members(mirror) == {name: constants(PROGRAMS)[name] for name in names}


def test_the_flags_of_a_record_have_the_programs_numbers() -> None:
    mirror = {"ID": events._HAS_ID, "PRIORITY": events._HAS_PRIORITY, "TAIL": events._HAS_TAIL, "KEY": events._HAS_KEY}
    assert mirror == constants(PROGRAMS, "HAS_")


#: Kernel-doc's word for an attribute's type → how it is packed.
WORDS = {"u8": "=B", "u16": "=H", "u32": "=I", "u64": "=Q", "s32": "=i", "u16 in network order": "!H"}


def test_a_number_of_a_message_is_as_wide_as_the_header_says() -> None:
    text = re.sub(r"\n \*\s+", " ", HEADER)
    types = dict(re.findall(r"@NFHARNESS_A_(\w+): ([us]\d+(?: in network order)?)", text))
    assert {kind.name: form for kind, form in uapi._FORMATS.items()} == {kind.name: WORDS[types[kind.name]] for kind in uapi._FORMATS}


def test_what_a_packet_is_to_its_connection_has_the_programs_bits() -> None:
    bits = constants(PROGRAMS)
    assert (bits["INFO_MASK"] | bits["CONNECTED"], bits["SOCKETED"]) == (events._CT_MASK, events._HAS_SOCKET)
    assert (bits["INFO_MASK"], bits["CONNECTED"]) == (changes._INFO, changes._CONNECTED)


def test_families_and_verdicts_have_the_programs_numbers() -> None:
    found = constants(PROGRAMS)
    assert {"INET": found["PF_INET_ANY"], **{name: found[f"PF_{name}"] for name in ("NETDEV", "IPV6", "BRIDGE")}} == {
        name: Family[name] for name in ("INET", "NETDEV", "IPV6", "BRIDGE")}
    assert HOOK_POINTS[Family.INET]["INGRESS"] == found["INGRESS_OF_INET"]
    assert (found["STOLEN"], found["REPEAT"], found["VERDICT_MASK"]) == (VerdictKind.STOLEN, VerdictKind.REPEAT, netfilter._MASK)


def test_what_a_step_may_ask_for_is_what_the_module_does() -> None:
    limits = constants(MODULE)
    assert (limits["NFH_BATCH_MAX"], limits["NFH_LIST_MAX"]) == (batches._BATCH_MAX, raw.LIST_MAX)
    bits = {"u8": 8, "u16": 16, "u32": 32, "u64": 64}[re.findall(r"@NFHARNESS_A_FAIL: (u\d+)", HEADER)[0]]
    assert bits - 1 == keys._FAIL_MAX


def test_the_module_is_asked_by_the_headers_name_and_version() -> None:
    assert f'#define NFHARNESS_GENL_NAME    "{module._NAME}"' in HEADER
    assert constants(HEADER)["NFHARNESS_GENL_VERSION"] == module._VERSION


def test_a_cookie_is_as_long_as_the_program_reads() -> None:
    assert constants(PROGRAMS)["COOKIE"] == COOKIE_BYTES == len(COOKIE_MAGIC) + 8


def test_a_rules_handle_has_the_programs_bits() -> None:
    assert (1 << constants(PROGRAMS)["HANDLE_BITS"]) - 1 == chains._HANDLE


def test_what_a_name_is_of_has_the_programs_numbers() -> None:
    assert tuple(
        constants(PROGRAMS)[name] for name in ("CHAIN_NAMED", "PROGRAM_NAMED")) == (events._CHAIN_NAMED, events._PROGRAM_NAMED)


def test_the_phases_of_a_capture_have_the_programs_numbers() -> None:
    mirror = {"OFF": capture._OFF, "STARTING": capture._STARTING, "ON": capture._ON}
    assert mirror == {name: constants(PROGRAMS)[name] for name in mirror}


def test_a_cookie_begins_as_the_header_says() -> None:
    assert f'#define NFHARNESS_COOKIE_MAGIC\t   "{COOKIE_MAGIC.decode()}"' in HEADER
    assert constants(HEADER)["NFHARNESS_COOKIE_MAGIC_LEN"] == len(COOKIE_MAGIC)


def test_the_static_keys_of_a_family_are_as_many_as_the_header_says() -> None:
    assert constants(HEADER)["NFHARNESS_KEYS_HOOKS"] == module._KEYS_HOOKS


def test_the_books_of_arrays_are_in_the_modules_order(monkeypatch: pytest.MonkeyPatch) -> None:
    source = (ROOT / "kmod/memory.c").read_text()
    order = {int(place): name for place, name in re.findall(r"books\[(\d)\] = nfh_memory\.(\w+);", source)}
    order |= dict.fromkeys(map(int, re.findall(r"nfh_memory_leaks\(leaks, &books\[(\d)\]\)", source)), "waiting")
    assert sorted(order) == list(range(6))
    reply = {Attribute.MEMORY: struct.pack("=6I", *range(10, 16)), Attribute.LEAKED: struct.pack("=I", 9)}
    monkeypatch.setattr(module.HookModule, "request", lambda *_: [reply])
    books = module.HookModule.__new__(module.HookModule).memory()
    untold = {"lost": "untold"}
    assert {name: getattr(books, untold.get(name, name)) for name in order.values()} == {name: 10 + place for place, name in order.items()}
    assert books.leaked == (9,)


def test_the_calls_of_hooks_for_connections_are_in_the_modules_order() -> None:
    source = (ROOT / "kmod/ct.c").read_text()
    steps = re.findall(r"(consume_skb\(run->\w+\)|run->calls\[\d\] = nfh_ct\.\w+);", source)
    assert steps == [
        "run->calls[0] = nfh_ct.tuples", "run->calls[1] = nfh_ct.attaches",
        "consume_skb(run->new)", "run->calls[2] = nfh_ct.destroys", "consume_skb(run->skb)", "run->calls[3] = nfh_ct.destroys",
    ]
    assert ("calls", "get_tuple_skb 0, attach 1, destroy 2 then 3") in tracked(None, None, 0, (0, 1, 2, 3), 0)
