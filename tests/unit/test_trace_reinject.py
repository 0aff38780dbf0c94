"""Where nf_reinject calls hooks, and what its probes make of a packet's walk."""

from __future__ import annotations

import pytest

from harness.errors import GuestError
from harness.netfilter import Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import NF_HOOK_SLOW, NF_REINJECT, PacketOutcome
from harness.trace.probes import Placement, place_all
from harness.walks.assembly import assembled
from harness.walks.events import Call, End, Entry, Event, Exit, How
from harness.walks.recording import Recording

#: The function that has nf_reinject in it, as it is in memory: kernel → its address and its code.
CODE = {
    "5.10": (0xFFFFFFFF927657A0, bytes.fromhex(
        "666666669041574156415541544989fc555389f34883ec080fb6573c4c8b7f10488b4f580fb6473880fa070f840001000080fa0a0f84e300"
        "000080fa0274040f0beb2548054a010000488b44c10848890424488b0424458b7424244885c074080fb7004139c672280f0b4c89ffe86e96"
        "f5ff4c89e7e886faffff4c89e74883c4085b5d415c415d415e415fe9903ab3ff83fb0475224489f0498d5424384c89fe48c1e00448030424"
        "488b7810488b4008ffd066669089c383fb010f84850000000fb6c380fb030f84db00000081e3fc000000750c83f801740c83f8027494eb8a"
        "83f8057585658105f0a28b6d00020000498b742450498b7c24584c89fa498b442460ffd0666690be0002000048c7c785587692e8d82792ff"
        "e955ffffff48054e010000488b44c11048890424e921ffffff480556010000488b44c11048890424e90dffffff4c89e64c89ffe870070000"
        "85c00f8812ffffff4d8d6c2438488b04244183c6010fb7004139c60f8374ffffff4489f548c1e50448032c24488b7d10488b45084c89ea4c"
        "89feffd066669089c383f80174c783f80474e10fb6c380fb030f8525ffffff4d8d6c243889d94489f24c89ffc1e9104c89eee8c1faffff85"
        "c00f89abfeffff83f8fd0f859afeffff80e7800f8491feffffeb82cccccccccc"
    )),
    "6.1": (0xFFFFFFFF96E3C020, bytes.fromhex(
        "0f1f4400004157415641554154554889fd5389f34883ec080fb657414c8b6710488b4f600fb6474080fa07744180fa0a0f84ea00000080fa"
        "020f84d10000000f0b0f0bbe010000004c89e7e80049f5ff4889efe8e8f9ffff4889ef4883c4085b5d415c415d415e415fe9e2cba6ff4805"
        "5e0100004c8b7cc108448b6d244d85ff74bf410fb7074139c573b683fb0475204489e8488d55404c89e648c1e0044c01f8488b7810488b40"
        "08ffd00f1f0089c30fb6c383fb010f84a800000083f803746f770f83f801741383f8027483e971ffffff83f8050f8568ffffff6581053a3a"
        "1e6900020000488b7558488b7d604c89e2488b4568ffd00f1f00be00020000488d3d00000000e8650886ffe940ffffff4805500100004c8b"
        "7cc110e959ffffff4805560100004c8b7cc108e949ffffff89d9488d75404489ea4c89e7c1e91048893424e8b8faffff85c00f8900ffffff"
        "83f8fd0f85eafeffff80e7800f84e1feffffeb1b4889ee4c89e7e83107000085c00f88ccfeffff488d454048890424410fb7074183c50141"
        "39c50f834bffffff4489e948c1e1044d8d340f498b7e10498b46084c89e6488b1424ffd00f1f0089c383f80174c983f80474e00fb6c0e9f9"
        "feffffcccccccccccccccccccccccccc"
    )),
    "6.12": (0xFFFFFFFFC03B7190, bytes.fromhex(
        "0f1f4400004157415641554154554889fd5389f34883ec08488b47384885c0740b8b00f6c4020f8494000000488b45404885c0740b8b00f6"
        "c4020f8480000000807d49077557488b45504885c074078b00f6c4027410488b45584885c0743e8b00f6c40275370fb64548488b55684c8b"
        "6518480568010000488b44c2088b552c4885c074660fb70039c2735fba020000004c89e631ffe8b5e542fceb5d83fb010f841e01000083fb"
        "040f841501000083fb050f849c01000085db0f85e200000031db0fb655494c8b6518488b4d680fb6454880fa070f843202000080fa0a7430"
        "80fa020f841e0100000f0bba0b0000004c89e631ffe856e542fc4883c4084889ef5b5d415c415d415e415fe960cd4ffc4805600100004c8b"
        "6cc1088b4d2c894c24044d85ed74c4410fb7450039c173bb83fb0475248b4424044c8d75484c89e64c89f248c1e0044c01e8488b7810488b"
        "4008ffd00f1f0089c383fb010f84760100000fb6c380fb030f840501000081e3fc0000000f859c00000083f8010f849c00000083f8020f84"
        "6effffffe9fbfeffffe80aafbbfb31c083fb010f95c08d5c4001807d78000f8416ffffff488b7d1831f6e8f9fdffff84c00f8501ffffffe9"
        "fefeffffe8d77abbfb488b0590888bfd4885c074bc488b7518488b7d68488b00ffd00f1f004189c4e8b3aebbfb410fb6c44180fc0174ab83"
        "f8020f84fafeffff89c3e9b1feffff48055c0100004c8b2cc1e905ffffff83f8050f856dfeffff6581054edcc73f00020000488b7560488b"
        "7d684c89e2488b4570ffd00f1f00be00020000488d3d00000000e8d1f2b0fbe9a6feffffe8477abbfb488b0500888bfd4885c00f856cffff"
        "ffe832aebbfbe92fffffff4c8d75488b54240489d94c89e74c89f6e848cd4ffc83f8010f8569feffff8344240401410fb745008b54240439"
        "c20f8378ffffff8b4c240448c1e1044d8d7c0d00498b7f10498b47084c89f24c89e6ffd00f1f0089c383f80174c383f80474e1e98afeffff"
        "0fb645493c02743d3c0a7523488b0585878bfd4885c07417488b40104889ee4c89e7ffd00f1f0085c00f8885fdffff4c8d7548eb84480568"
        "0100004c8b6cc108e9fefdffff807d48034c8d75480f8566ffffff410fb78424b80000000fb68d8800000049038424c8000000384801752a"
        "8b8d8c00000041398c24a8000000751a8b8d80000000394810750f8b8d8400000039480c0f841fffffff488b7560488b7d6831c94c89e2e8"
        "8cf858fce976ffffff0f1f8000000000"
    )),
    "7.3": (0xFFFFFFFFC0872270, bytes.fromhex(
        "0f1f4400004157415641554154554889fd5389f34883ec08488b47384885c0740b8b00f6c4020f849f000000488b45404885c0740b8b00f6"
        "c4020f848b000000807d49077562488b45504885c074078b00f6c4027410488b45584885c074498b00f6c40275420fb65d484c8b65184c8b"
        "6d684883fb060f83de0300004881c3ae0100008b552c498b44dd104885c074630fb70039c2735cba020000004c89e631ffe84a6960d6eb5a"
        "83fb010f842901000083fb040f842001000083fb050f84b701000085db0f85ed00000031db0fb645494c8b65184c8b6d680fb655483c070f"
        "84c70200003c0a742f3c020f842c0100000f0bba0c0000004c89e631ffe8ee6860d64883c4084889ef5b5d415c415d415e415fe948f96ed6"
        "440fb6f280fa050f87210300004981c6a60100004f8b6cf5108b4d2c894c24044d85ed74b6410fb7450039c173ad83fb0475248b4424044c"
        "8d75484c89e64c89f248c1e0044c01e8488b7810488b40082e2e2effd089c383fb010f849e0100000fb6c380fb030f841501000081e3fc00"
        "00000f85ab00000083f8010f84ab00000083f8020f8460ffffffe9f0feffffe854f8bdd531c083fb010f95c08d5c4001807d78000f840bff"
        "ffff488b7d1831f6e8e3fdffff84c00f85f6feffffe9f3feffffe89165bdd5488b058a63aed74885c074bc488b7518488b7d68488b002e2e"
        "2effd04189c4e8fdf7bdd5410fb6c44180fc0174ab83f8020f84ecfeffff89c3e9a6feffff440fb6f280fa050f87080200004981c6a20100"
        "004f8b6cf508e9f6feffff83f8050f8553feffff65488105689b46d800020000488b7560488b7d684c89e2488b45702e2e2effd0be000200"
        "00488d3d00000000e8dbf8aed5e988feffffe8f164bdd5488b05ea62aed74885c00f855cffffffe86cf7bdd5e91fffffff4c8d75488b5424"
        "0489d94c89e74c89f6e812f96ed683f8010f854bfeffff8344240401410fb745008b54240439c20f8377ffffff8b4c240448c1e1044d8d7c"
        "0d00eb0983f8040f8593feffff498b7f10498b47084c89f24c89e62e2e2effd089c383f80175dd8344240401410fb745008b4c240439c172"
        "bce92effffff0fb645494c8d75483c020f84a40000003c0a758d807d48037587410fb78424b800000049038424c8000000488b5018488b48"
        "204833958000000048338d880000004809ca752f488b5008488b401048339590000000483385980000004809c275148b85a0000000413984"
        "24a80000000f842cffffff488b7560488b7d684c89e2e8051c82d685c00f88f4fcffff4c8d7548e90bffffff440fb6f280fa050f87b50000"
        "004981c6ae0100004f8b6cf510e967fdffff807d48030f85e3feffff410fb78424b80000000fb6958800000049038424c800000038500175"
        "2a8b958c00000041399424a8000000751a8b9580000000395010750f8b958400000039500c0f849cfeffff488b7560488b7d6831c94c89e2"
        "e813c978d6e969ffffff4c89f648c7c740b334c0e86ffe38d6e9e4fdffff4c89f648c7c720b334c0e85bfe38d6e9cbfcffff4889de48c7c7"
        "00b334c0e847fe38d6e90efcffff4c89f648c7c760b334c0e833fe38d6e937ffffff66662e0f1f8400000000000f1f00"
    )),
}
#: Kernel → each indirect call and the instruction behind it: the hook that queued, what conntrack or the route may say, okfn, later hooks.
CALLS = {
    "5.10": ((0xB0, 0xB2), (0x102, 0x104), (0x18A, 0x18C)),
    "6.1": ((0xA9, 0xAB), (0xF5, 0xF7), (0x1AA, 0x1AC)),
    "6.12": ((0x152, 0x154), (0x1E0, 0x1E2), (0x239, 0x23B), (0x2C2, 0x2C4), (0x2FA, 0x2FC)),
    "7.3": ((0x168, 0x16D), (0x1F6, 0x1FB), (0x25F, 0x264), (0x2F3, 0x2F8)),
}
#: Kernel → where it ends, in a tail call.
ENDS = {"5.10": 0x8B, "6.1": 0x69, "6.12": 0x10B, "7.3": 0x113}
PUSHED_AND_RESERVED = 56
ACCEPT, DROP, REPEAT, STOP, QUEUE_7 = 1, 0, 4, 5, 7 << 16 | 3


def placed(kernel: str) -> Placement:
    address, code = CODE[kernel]
    return place_all(code, address, lambda to: set() if address <= to < address + len(code) else {"kfree"}, NF_REINJECT)


@pytest.mark.parametrize("kernel", CODE)
def test_every_indirect_call_of_nf_reinject_is_found(kernel: str) -> None:
    assert placed(kernel).calls == CALLS[kernel]


@pytest.mark.parametrize("kernel", CODE)
def test_nf_reinject_ends_in_a_tail_call_with_all_of_its_stack_given_back(kernel: str) -> None:
    assert (placed(kernel).exits, placed(kernel).depth) == ((ENDS[kernel],), PUSHED_AND_RESERVED)


@pytest.mark.parametrize(("code", "complaint"), [
    ("535bc3", "0 indirect calls"),
    ("53ffd0", "0 ends"),
    ("53ffd0e9f70f0000", "ends in a jump"),
], ids=["no call", "no end", "a jump that gives no stack back"])
def test_any_other_shape_is_refused(code: str, complaint: str) -> None:
    with pytest.raises(GuestError, match=complaint):
        place_all(bytes.fromhex(code), 0x1000, lambda _: {"elsewhere"}, NF_REINJECT)


def entry(traversal: int, *, answer: int | None = None, start: int = 0) -> Entry:
    """:param answer: of the listener to nf_reinject; ``None`` for nf_hook_slow"""
    tail = b"nfharnes" + (1).to_bytes(8, "big")
    return Entry(traversal, 0xA, 0, 2, 1, 7, "eth0", "", start, 4, 0x0800, 60, bytes(28), tail, 0, int(answer is not None), 0, answer or 0)


def call(traversal: int, slot: int, verdict: int = ACCEPT) -> Call:
    return Call(traversal, slot, 0x1000, 0xB, None, 0, verdict, 1, 0)


def end() -> End:
    return End(0xA, How.FREED, 0, 0, 0)


def only(*events: Event) -> PacketOutcome:
    queued = (entry(1), call(1, 0), call(1, 1, QUEUE_7), Exit(1, 0, 0))
    seen = assembled(Recording((*queued, *events), lambda _: None, (NF_HOOK_SLOW, NF_REINJECT)))
    assert seen.doubts == ()
    return seen.packets[0]


def test_a_packet_that_nobody_answered_is_queued() -> None:
    assert only().fate == Fate("queued")


def test_what_a_listener_lets_go_on_is_a_traversal_of_its_own_with_slot_and_answer() -> None:
    packet = only(entry(2, answer=ACCEPT, start=1), call(2, 2), call(2, 3), Exit(2, 1, 0))
    first, second = packet.traversals
    assert (first.loop, first.start, first.answer) == (NF_HOOK_SLOW, 0, None)
    assert (second.loop, second.start, second.answer, second.returned) == (NF_REINJECT, 1, Verdict(VerdictKind.ACCEPT), 1)
    assert [one.index for one in second.calls] == [2, 3]


@pytest.mark.parametrize(("answer", "calls", "fate"), [
    (DROP, (), "dropped"),
    (ACCEPT, (call(2, 2, DROP),), "dropped"),
    (REPEAT, (call(2, 1, REPEAT),), "dropped"),
    (QUEUE_7, (), "dropped"),
    (ACCEPT, (call(2, 2, 0x42),), "dropped"),
], ids=["by the listener", "by a hook", "a hook that repeats", "nobody listens there", "an unknown verdict"])
def test_what_nf_reinject_frees_is_dropped(answer: int, calls: tuple[Call, ...], fate: str) -> None:
    assert only(entry(2, answer=answer, start=1), *calls, end(), Exit(2, 0, 0)).fate.kind == fate


@pytest.mark.parametrize(("answer", "calls", "fate"), [
    (QUEUE_7, (), "queued"),
    (REPEAT, (call(2, 1, QUEUE_7),), "queued"),
    (ACCEPT, (call(2, 2, 2),), "stolen"),
    (ACCEPT, (call(2, 2, 0x42),), "unknown"),
], ids=["queued again by the listener", "by a hook", "stolen by a hook", "kept by nobody"])
def test_what_nf_reinject_does_not_free_is_elsewhere(answer: int, calls: tuple[Call, ...], fate: str) -> None:
    assert only(entry(2, answer=answer, start=1), *calls, Exit(2, 0, 0)).fate.kind == fate


def test_a_packet_that_goes_on_is_judged_by_what_comes_then() -> None:
    assert only(entry(2, answer=STOP, start=1), Exit(2, 1, 0), end()).fate.kind == "dropped by the stack"
