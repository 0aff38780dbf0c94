"""What a person sees: trees with the prediction beside them, readable at 80 columns and without colour."""

from __future__ import annotations

import errno
import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome import Fate, HookCall, Outcome, PacketOutcome, Slot, StepOutcome, Traversal, compare
from harness.outcome.types import OUR_MODULE, OURS
from harness.walks.render import render_run, render_walks

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP, errno.EHOSTUNREACH)


def ours(index: int, label: str, priority: int, verdict: Verdict = ACCEPT, ns: int | None = 1234) -> HookCall:
    return HookCall(index, OURS, OUR_MODULE, priority, verdict, ns, label)


DROPPED = Fate("dropped", errno.EHOSTUNREACH)


def outcome(verdict: Verdict = DROP, returned: int = -errno.EHOSTUNREACH, fate: Fate = DROPPED) -> Outcome:
    defrag = HookCall(1, "ipv4_conntrack_defrag", "nf_defrag_ipv4", -400, ACCEPT, 20500)
    return Outcome((), (PacketOutcome("udp 10.0.1.2:40001 > 10.0.2.2:9, 32 bytes, ttl 64", 2, fate, (
        Traversal(Family.IPV4, 0, "router", "to-client", "", (ours(0, "first", PRIORITY_MIN), defrag), 1),
        Traversal(Family.IPV4, 2, "router", "to-client", "to-server",
                  (ours(0, "newer", 0), HookCall(1, "accept_all", None, PRIORITY_MAX, ACCEPT, 900),
                   ours(2, "guard", PRIORITY_MAX, verdict)), returned),
    )),))


def shown(predicted: Outcome, observed: Outcome, width: int = 100, **console: bool) -> str:
    out = io.StringIO()
    render_run(Console(file=out, width=width, **console), "router on 6.12 (tcg)",  # type: ignore[arg-type]
               compare(predicted, observed))
    return out.getvalue()


def test_a_conformant_run_at_full_width() -> None:
    assert shown(outcome(), outcome()) == """\
router on 6.12 (tcg)

packet 2  udp 10.0.1.2:40001 > 10.0.2.2:9, 32 bytes, ttl 64
│  slot  priority  hook                                    verdict                 ns  model
├─ PREROUTING  router  in to-client
│     0   INT_MIN  first nfharness_hook [nfharness]        ACCEPT               1,234  ✓
│     1      -400  ipv4_conntrack_defrag [nf_defrag_ipv4]  ACCEPT              20,500  ✓
│  returned 1                                                                          ✓
├─ FORWARD  router  in to-client, out to-server
│     0         0  newer nfharness_hook [nfharness]        ACCEPT               1,234  ✓
│     1   INT_MAX  accept_all                              ACCEPT                 900  ✓
│     2   INT_MAX  guard nfharness_hook [nfharness]        DROP(EHOSTUNREACH)   1,234  ✓
│  returned -EHOSTUNREACH                                                              ✓
└─ dropped (EHOSTUNREACH)                                                              ✓

conformant
"""


def test_the_same_fits_in_80_columns() -> None:
    text = shown(outcome(), outcome(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "guard [nfharness]           DROP(EHOSTUNREACH)   1,234  ✓" in text


def test_a_difference_is_marked_beside_the_call_and_explained_under_the_tree() -> None:
    text = shown(outcome(), outcome(ACCEPT, 1, Fate("delivered")))
    lines = [line.rstrip() for line in text.splitlines()]
    assert any(line.startswith("│     2   INT_MAX  guard") and line.endswith("✗ DROP(EHOSTUNREACH)") for line in lines)
    assert any(line.startswith("│  returned 1 ") and line.endswith("✗ -EHOSTUNREACH") for line in lines)
    assert any(line.startswith("└─ delivered ") and line.endswith("✗ dropped (EHOSTUNREACH)") for line in lines)
    explained = lines.index("   ✗ router FORWARD/call 2: guard gave another verdict")
    assert lines[explained + 1] == "     predicted DROP(EHOSTUNREACH), observed ACCEPT"
    assert lines[-1] == "different: 3 differences"


def test_what_was_predicted_and_not_seen_is_shown_in_its_place() -> None:
    observed = outcome()
    packet = observed.packets[0]
    text = shown(outcome(), replace(observed, packets=(replace(packet, traversals=packet.traversals[:1]),)))
    assert "├─ FORWARD  router  in to-client, out to-server  not crossed" in text
    guard = next(line for line in text.splitlines() if "guard" in line)
    assert "not called" in guard
    assert guard.endswith("✗ DROP(EHOSTUNREACH)")


@pytest.mark.parametrize(("changes", "last"), [
    ({"lost_events": 3}, "inconclusive: the tracer lost 3 events"),
    ({"doubts": ("entries 5, exits 4",)}, "inconclusive: entries 5, exits 4"),
    ({"packets": ()}, "inconclusive: packet 2 was sent but not seen"),
])
def test_the_last_line_says_why_nothing_can_be_concluded(changes: dict[str, object], last: str) -> None:
    text = shown(outcome(), replace(outcome(), **changes))  # type: ignore[arg-type]
    assert text.splitlines()[-1] == last


def test_an_array_in_question_is_shown_slot_by_slot() -> None:
    one, two = (Slot(index, OURS, OUR_MODULE, 0, label=label) for index, label in enumerate("ab"))
    expected = Outcome((StepOutcome(4, 0, (("host/IPV4/INPUT", (one, two)),)),))
    found = Outcome((StepOutcome(4, 0, (("host/IPV4/INPUT", (replace(two, index=0), replace(one, index=1))),)),))
    assert [line.rstrip() for line in shown(expected, found).splitlines()][2:6] == [
        "   ✗ steps[4]/host/IPV4/INPUT: the same hooks in another order",
        "     slot  predicted  observed",
        "        0  0 a        0 b",
        "        1  0 b        0 a",
    ]


def test_colour_only_on_a_terminal() -> None:
    assert "\x1b[" not in shown(outcome(), outcome())
    assert "\x1b[" in shown(outcome(), outcome(), force_terminal=True)


def test_names_with_brackets_and_markup_are_shown_as_they_are() -> None:
    observed = outcome()
    packet = replace(observed.packets[0], packet="[bold]x[/bold] :smile:")
    assert "[bold]x[/bold] :smile:" in shown(observed, replace(observed, packets=(packet,)))


def test_walks_of_a_trace_have_no_model() -> None:
    out = io.StringIO()
    render_walks(Console(file=out, width=80), replace(outcome(), lost_events=1))
    assert "model" not in out.getvalue()
    assert "✓" not in out.getvalue()
    assert out.getvalue().splitlines()[-1] == "1 event was lost: calls may be missing above"


def test_a_base_chain_goes_by_its_name_and_nats_own_by_the_slots_of_both_arrays() -> None:
    accept = Verdict(VerdictKind.ACCEPT)
    inner = HookCall(1, "nft_nat_do_chain", "nft_chain_nat", -100, accept, 50, chain="ip nat pre")
    calls = (HookCall(0, "nft_do_chain_inet", "nf_tables", -150, accept, 70, chain="inet admin forward"),
             HookCall(2, "nf_nat_ipv4_pre_routing", "nf_nat", -100, accept, 90, calls=(inner,)))
    packet = PacketOutcome("UDP", None, Fate("consumed"), (Traversal(Family.IPV4, 0, "router", "eth0", "", calls, 1),))
    out = io.StringIO()
    render_walks(Console(file=out, width=120), Outcome(packets=(packet,)))
    assert [line.split()[1:-2] for line in out.getvalue().splitlines()[4:7]] == [
        ["0", "-150", "inet", "admin", "forward", "nft_do_chain_inet", "[nf_tables]"],
        ["2.1", "-100", "ip", "nat", "pre", "nft_nat_do_chain", "[nft_chain_nat]"],
        ["2", "-100", "nf_nat_ipv4_pre_routing", "[nf_nat]"]]


def test_an_errno_of_sendto_is_told_with_the_fate() -> None:
    observed = outcome()
    packet = replace(observed.packets[0], sent_errno=errno.EACCES)
    assert "dropped (EHOSTUNREACH), sendto() failed with EACCES" in shown(observed, replace(observed, packets=(packet,)))
