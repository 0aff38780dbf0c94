"""Two kernels side by side: what differs between outcomes, what explains it, and what nothing explains."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.conformance import RULES, matrix
from harness.conformance.bundle import save
from harness.conformance.cases import Cases
from harness.conformance.contrast import OTHERS, Case, KernelContrast, exit_code, outcome
from harness.conformance.contrast_notes import as_json, functions, notes
from harness.conformance.matrix import Target
from harness.conformance.reference import load
from harness.conformance.rule import FORKS, Rule, Script
from harness.errors import KernelDied, UserError
from harness.model import predict
from harness.model.foreign import Foreign
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome import Fate, KernelProfile, Outcome
from harness.outcome.contrast import Contrast, contrasts, one_name, walk
from harness.outcome.types import BEFORE, HookCall, Slot
from harness.scenario import BUILTIN, Scenario
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.packets import Send
from tests.unit.targets import target

LOCAL_IN = BUILTIN["local-in"]
OLD = KernelProfile(stolen_errno=False, drop_reasons=False)
NEW = KernelProfile()
#: Of each fork one that has gone the other way.
FORKED = (NEW, replace(OLD, inet_ingress=False, netdev_egress=False, unknown_verdict_warns=False,
                       reinject_warns="net/netfilter/nf_queue.c"))


def foreign(function: str, module: str | None = None, priority: int = -225) -> Foreign:
    """One hook of the kernel's own at INPUT."""
    return Foreign({BEFORE: (("host/IPV4/INPUT", (Slot(0, function, module, priority),)),)})




# --- outcomes ---


def test_an_outcome_does_not_differ_from_itself() -> None:
    for scenario in BUILTIN.values():
        one = predict(scenario)
        assert contrasts(one, one_name(one, one)[0]) == ()


def timed(one: Outcome, ns: int) -> Outcome:
    """With times, summaries and connections that no other kernel has."""
    packets = tuple(replace(packet, packet=f"at {ns}", number=ns, traversals=tuple(
        replace(traversal, time=ns, slots=ns, mark=ns, calls=tuple(replace(call, ns=ns) for call in traversal.calls))
        for traversal in packet.traversals)) for packet in one.packets)
    return replace(one, packets=packets, began=ns, log=(f"[ {ns}] something",))


def test_times_are_no_behaviour() -> None:
    one = predict(LOCAL_IN)
    assert contrasts(timed(one, 1), one_name(timed(one, 1), timed(one, 2))[0]) == ()


def test_names_of_functions_and_modules_are_no_behaviour() -> None:
    old = predict(LOCAL_IN, foreign=foreign("ipv4_confirm", "nf_conntrack"))
    new = predict(LOCAL_IN, foreign=foreign("nf_confirm"))
    assert contrasts(old, new) != ()
    renamed, names = one_name(old, new)
    assert (contrasts(old, renamed), names) == ((), {"ipv4_confirm [nf_conntrack]": "nf_confirm"})


@pytest.mark.parametrize("other", [foreign("nf_confirm", priority=-224), Foreign()])
def test_another_priority_is_behaviour_and_so_is_a_hook_that_is_missing(other: Foreign) -> None:
    old, new = predict(LOCAL_IN, foreign=foreign("ipv4_confirm")), predict(LOCAL_IN, foreign=other)
    renamed, names = one_name(old, new)
    assert (contrasts(old, renamed) != (), names) == (True, {})


def test_hooks_at_one_place_are_paired_only_if_there_are_as_many() -> None:
    two = Foreign({BEFORE: (("host/IPV4/INPUT", (Slot(0, "b", None, 5), Slot(1, "c", None, 5))),)})
    assert one_name(predict(LOCAL_IN, foreign=foreign("a", priority=5)), predict(LOCAL_IN, foreign=two))[1] == {}


def test_a_namesake_is_no_other_hook() -> None:
    both = Foreign({BEFORE: (("host/IPV4/INPUT", (Slot(0, "a", None, 5), Slot(1, "b", None, 5))),)})
    turned = Foreign({BEFORE: (("host/IPV4/INPUT", (Slot(0, "b", None, 5), Slot(1, "a", None, 5))),)})
    renamed, names = one_name(predict(LOCAL_IN, foreign=both), predict(LOCAL_IN, foreign=turned))
    assert names == {}
    assert contrasts(predict(LOCAL_IN, foreign=both), renamed)


def planted(one: Outcome, call: Callable[[HookCall], HookCall] | None = None, fate: Fate | None = None) -> Outcome:
    """Something is otherwise in the last packet."""
    *others, packet = one.packets
    *before, last = packet.traversals
    calls = tuple(map(call, last.calls)) if call else last.calls
    return replace(one, packets=(*others, replace(packet, fate=fate or packet.fate, traversals=(*before, replace(last, calls=calls)))))


def test_a_verdict_and_an_end_that_differ_are_told_with_both_walks() -> None:
    scenario = LOCAL_IN
    one = predict(scenario)
    other = planted(one, lambda call: replace(call, verdict=Verdict(VerdictKind.ACCEPT)), Fate("delivered"))
    found = contrasts(one, other)
    assert {(each.where.rpartition("/")[2].split()[0], each.first, each.second) for each in found} == {
        ("call", "DROP", "ACCEPT"), ("fate", "dropped (EPERM)", "delivered")}
    lines = walk(one, other, found)
    assert [(line.first, line.second) for line in lines if line.differs] == [
        (lines[-2].first, lines[-2].second), ("dropped (EPERM), freed with the reason NETFILTER_DROP", "delivered")]
    assert lines[-2].first.endswith("DROP → -EPERM")


@pytest.mark.parametrize("turned", [False, True])
def test_a_reason_is_told_whichever_kernel_gives_it(turned: bool) -> None:
    scenario = LOCAL_IN
    both = [predict(scenario, KernelProfile(drop_reasons=reasons)) for reasons in (turned, not turned)]
    said = ["freed without a reason", "freed with the reason NETFILTER_DROP"]
    first, second = reversed(said) if turned else said
    assert contrasts(*both) == (Contrast("packet 2/reason", first, second),)


def test_a_reason_that_is_not_the_cores_is_no_behaviour() -> None:
    one = predict(BUILTIN["loopback"])
    assert contrasts(planted(one, fate=replace(one.packets[-1].fate, reason="UDP_CSUM")), one) == ()
    gone = predict(RULES["queue.dummies-go"].scripts[1].scenario)
    assert contrasts(gone, planted(gone, fate=replace(gone.packets[-1].fate, reason="NETFILTER_DROP"))) == (), "nf_reinject's"


@pytest.mark.parametrize("turned", [False, True])
def test_readings_that_do_not_agree_are_told_of_either_kernel(turned: bool) -> None:
    one = predict(LOCAL_IN)
    other = replace(one, steps=(replace(one.steps[0], disputes=("nfnetlink_hook lists none",)), *one.steps[1:]))
    (found,) = contrasts(other, one) if turned else contrasts(one, other)
    assert "nfnetlink_hook lists none" in (found.first if turned else found.second)


# --- two kernels ---


class Kernels:
    """Kernels whose guests do what the model says of their profile, but for what is planted.

    :ivar answers: (release, scenario) → what a guest says instead
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Callable[[Outcome], Outcome]] = {}
        self.foreign: dict[str, Foreign] = {}

    @asynccontextmanager
    async def begin(self, source: Any) -> AsyncIterator[Any]:
        profile = KernelProfile.from_json(source.facts["profile"])

        async def observe(scenario: Scenario, _deadline_s: float) -> Outcome:
            one = predict(scenario, profile, self.foreign.get(profile.release))
            one = replace(one, packets=tuple(packet for packet in one.packets if packet.traversals))  # no hook sees any other
            plant = self.answers.get((profile.release, scenario.name))
            return plant(one) if plant else one

        yield SimpleNamespace(guest=SimpleNamespace(console_tail=lambda: ""), observe=observe)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernels:
    made = Kernels()
    monkeypatch.setattr(matrix, "started", made.begin)
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    return made


def kernel(release: str, profile: KernelProfile, **more: Any) -> Target:
    return target(release, replace(profile, release=release), **more)


def compared(*patterns: str, first: Target | None = None, second: Target | None = None) -> KernelContrast:
    cases = Cases.of(patterns)
    run = KernelContrast((first or kernel("old", OLD), second or kernel("new", NEW)), cases.rules, cases.fields)
    asyncio.run(run.run(lambda _: None, jobs=2))
    return run


def only(run: KernelContrast) -> Case:
    (case,) = run.cases
    return case


def test_the_field_that_makes_the_model_predict_a_difference_explains_it(kernels: Kernels) -> None:
    run = compared("local-in")
    case = only(run)
    assert (case.state, case.causes) == ("explained", ("drop_reasons",))
    assert [(one.place, one.causes) for one in case.differing] == [("packet 2/reason", ("drop_reasons",))]
    assert (outcome(run), exit_code(run), exit_code(run, explained_is_different=True)) == ("explained", 0, 1)
    assert [(note.cause, note.example) for note in notes(run)] == [("drop_reasons", case)]
    assert case.differing[0].contrast.first == "freed without a reason"


def test_a_note_names_the_functions_that_its_cases_share() -> None:
    cases = [Case(RULES[name], "explained", cast(Any, ())) for name in ("drop.eperm", "stolen", "inet.rollback")]
    assert "nf_hook_slow" in functions(cases[:2])
    assert "nf_hook_slow" not in functions(cases)


def test_two_fields_each_explain_their_own(kernels: Kernels) -> None:
    thief = Register("thief", "host", Family.IPV4, "OUTPUT", 0, Verdict(VerdictKind.STOLEN, errno=errno.EACCES))
    scenario = replace(LOCAL_IN, steps=(*LOCAL_IN.steps, thief, Send("host", "peer", cookie=3)))
    run = KernelContrast((kernel("old", OLD), kernel("new", NEW)), (Rule("both", "Both.", (Script(scenario, ()),)),), ())
    asyncio.run(run.run(lambda _: None, jobs=2))
    assert {(one.place, one.causes) for one in only(run).differing} == {
        ("packet 2/reason", ("drop_reasons",)), ("step 6, send", ("stolen_errno",)), ("packet 3/fate", ("stolen_errno",)),
        ("packet 3/host OUTPUT", ("stolen_errno",))}
    assert only(run).causes == ("stolen_errno", "drop_reasons")


def test_a_rule_that_applies_to_one_is_explained_by_its_probe(kernels: Kernels) -> None:
    case = only(compared("path.vlan-bridge", second=kernel("new", replace(OLD, vlan=False))))
    assert (case.state, case.only, case.causes) == ("explained", 0, ("vlan",))


@pytest.mark.parametrize(("name", "lacks"), [
    ("list", "veth_gro"), ("bridge", "bridge"), ("arp", "br_netfilter"), ("vlan", "vlan"), ("tee", "tee"),
    ("redirects", "redirect"),
])
def test_a_scenario_that_a_kernel_cannot_be_given_applies_to_the_other_only(kernels: Kernels, name: str, lacks: str) -> None:
    missing: dict[str, Any] = {lacks: False}
    case = only(compared(f"scenario.{name}", first=kernel("old", replace(NEW, **missing))))
    assert (case.state, case.only, case.causes) == ("explained", 1, (lacks,))


def test_a_rule_whose_ruleset_a_kernel_refuses_applies_to_the_other_only(kernels: Kernels) -> None:
    case = only(compared("path.fragments-cut-short", first=kernel("old", replace(NEW, netdev_egress=False))))
    assert (case.results[0].state, case.only, case.causes) == ("not_applicable", 1, ("netdev_egress",))


def test_a_rule_about_what_kernels_do_otherwise_runs_on_both(kernels: Kernels) -> None:
    case = only(compared("stolen.errno"))
    assert (case.state, case.only, case.causes) == ("explained", None, ("stolen_errno",))
    assert [(one.contrast.first, one.contrast.second) for one in case.differing if one.place == "packet 1/fate"] == [
        ("stolen", "stolen (EHOSTUNREACH)"), *[("stolen", "stolen (EACCES)")] * 2]  # in its first script, and at every point


@pytest.mark.parametrize("need", sorted(FORKS))
def test_what_a_fork_is_about_is_done_otherwise_where_its_probe_says_no(need: str) -> None:
    rules = [rule for rule in RULES.values() if need in rule.needs]
    assert rules
    for rule in rules:
        other = next(profile for profile in FORKED if rule.lacking(profile))
        both = [(predict(one.scenario, rule.profile), predict(one.scenario, other)) for one in rule.scripts]
        assert any(contrasts(*pair) for pair in both)


def test_kernels_that_behave_alike_have_no_difference(kernels: Kernels) -> None:
    run = compared("local-in", "local-in", second=kernel("new", OLD))
    assert ({case.state for case in run.cases}, notes(run), outcome(run)) == ({"alike"}, (), "alike")
    assert (exit_code(run), exit_code(run, explained_is_different=True)) == (0, 0)


def accepts(one: Outcome) -> Outcome:
    return planted(one, lambda call: replace(call, verdict=Verdict(VerdictKind.ACCEPT)), Fate("delivered"))


def test_a_kernel_that_is_not_as_the_model_predicts_is_different(kernels: Kernels) -> None:
    kernels.answers["new", "local-in"] = accepts
    run = compared("local-in")
    case = only(run)
    assert (case.state, outcome(run), exit_code(run)) == ("different", "different", 1)
    assert any(reason.startswith("new: packet 2/fate: predicted dropped (EPERM), observed delivered") for reason in case.reasons)
    assert ("packet 2/fate", "dropped (EPERM)", "delivered") in [
        (one.contrast.where, one.contrast.first, one.contrast.second) for one in case.differing if not one.causes]
    assert case.results[1].bundle is not None


def test_two_kernels_that_fail_in_the_same_way_are_alike_and_it_is_said(kernels: Kernels) -> None:
    kernels.answers = {(name, "local-in"): accepts for name in ("old", "new")}
    case = only(compared("local-in", second=kernel("new", OLD)))
    assert (case.state, {reason.partition(":")[0] for reason in case.reasons}) == ("alike", {"old", "new"})


def test_what_is_inconclusive_on_either_is_never_alike(kernels: Kernels) -> None:
    kernels.answers["old", "local-in"] = lambda one: replace(one, lost_events=3)
    run = compared("local-in", "stolen")
    states = {case.rule.id: case.state for case in run.cases}
    assert states["scenario.local-in"] == "inconclusive"
    assert (outcome(run), exit_code(run)) == ("inconclusive", 125)
    (found,) = as_json(run)["inconclusive"]
    assert found["case"] == "scenario.local-in"
    assert "the tracer lost 3 events" in found["reasons"][0]


def dies(_one: Outcome) -> Outcome:
    raise KernelDied("Kernel panic - not syncing: test")


def test_a_kernel_that_dies_of_a_case_is_different_and_the_others_go_on(kernels: Kernels) -> None:
    kernels.answers["new", "local-in"] = dies
    run = compared("local-in", "stop")
    states = {case.rule.id: case.state for case in run.cases}
    assert (states["scenario.local-in"], "stop" in states, exit_code(run)) == ("different", True, 1)
    assert "new: Kernel panic - not syncing: test" in next(case for case in run.cases if case.state == "different").reasons


def test_hooks_that_one_kernel_alone_has_are_a_cause_of_their_own(kernels: Kernels) -> None:
    kernels.foreign["new"] = foreign("selinux_ip_input")
    case = only(compared("local-in", second=kernel("new", OLD)))
    assert (case.state, case.causes) == ("explained", (OTHERS,))


def bridged(*forward: Slot) -> Foreign:
    """Hooks of br_netfilter."""
    def slot(function: str, priority: int) -> Slot:
        return Slot(0, function, "br_netfilter", priority)

    return Foreign({BEFORE: (
        ("bridge/BRIDGE/PREROUTING", (slot("br_nf_pre_routing", 0),)), ("bridge/BRIDGE/FORWARD", forward),
        ("bridge/BRIDGE/POSTROUTING", (slot("br_nf_post_routing", PRIORITY_MAX),)),
        ("bridge/IPV4/PREROUTING", (slot("ip_sabotage_in", PRIORITY_MIN),)),
    )})


def test_what_a_hook_does_that_is_called_otherwise_is_asked_of_the_model_by_its_own_name(kernels: Kernels) -> None:
    """One function forwards IP and ARP on newer kernels, two on older ones."""
    old = bridged(Slot(0, "br_nf_forward_ip", "br_netfilter", -1), Slot(1, "br_nf_forward_arp", "br_netfilter", 0))
    kernels.foreign = {"old": old, "new": bridged(Slot(0, "br_nf_forward", "br_netfilter", 0))}
    script = Script(RULES["path.families-together"].scripts[1].scenario, ())
    run = KernelContrast((kernel("old", OLD), kernel("new", OLD)), (Rule("together", "Together.", (script,)),), ())
    asyncio.run(run.run(lambda _: None, jobs=2))
    assert (only(run).state, only(run).causes) == ("explained", (OTHERS,))
    assert any("STOLEN" in line.first for line in only(run).walk)


def test_a_packet_that_a_hook_of_one_kernel_alone_sees_is_explained(kernels: Kernels) -> None:
    case = only(compared("netdev.egress-dummy", first=kernel("old", replace(NEW, netdev_egress=False))))
    assert ("packet 1", ("netdev_egress",)) in [(one.contrast.where, one.causes) for one in case.differing]
    assert (case.state, case.causes) == ("explained", ("netdev_egress",))


def test_the_same_hook_under_another_name_is_named_and_no_difference(kernels: Kernels) -> None:
    kernels.foreign = {"old": foreign("ipv4_confirm"), "new": foreign("nf_confirm")}
    run = compared("local-in", second=kernel("new", OLD))
    assert (only(run).state, run.names) == ("alike", {"ipv4_confirm": "nf_confirm"})
    assert as_json(run)["same_hooks"] == [{"old": "ipv4_confirm", "new": "nf_confirm"}]


def test_a_field_that_departs_from_its_reference_explains_nothing(kernels: Kernels) -> None:
    reference = load("6.12")
    broken = kernel("6.12.2", replace(reference.profile, stolen_errno=False), references=(reference,))
    run = compared("profile.stolen_errno", first=kernel("6.12.1", reference.profile, references=(reference,)), second=broken)
    (field,) = run.profile
    assert field.faults == ("6.12.2: 6.12 has it, this kernel has not",)
    assert (outcome(run), exit_code(run)) == ("different", 1)
    allowed = replace(broken, allowed=("stolen_errno",))
    run = compared("profile.stolen_errno", first=kernel("6.12.1", reference.profile, references=(reference,)), second=allowed)
    assert (outcome(run), run.profile[0].notes) == ("explained", ("6.12.2: 6.12 has it, this kernel has not: --allow-profile",))


def test_a_field_that_could_not_be_probed_is_inconclusive(kernels: Kernels) -> None:
    run = compared("profile.vlan", first=kernel("old", NEW), second=kernel("new", replace(NEW, unprobed=("vlan: no veth",))))
    assert (run.profile[0].failed, outcome(run), exit_code(run)) == (("new: no veth",), "inconclusive", 125)


def test_a_comparison_that_was_cut_off_says_what_it_did_not_come_to(kernels: Kernels) -> None:
    cases = Cases.of(("local-in", "stop"))
    run = KernelContrast((kernel("old", OLD), kernel("new", NEW)), cases.rules, cases.fields)
    assert (outcome(run), exit_code(run)) == ("inconclusive", 125)
    assert as_json(run)["not_run"] == [rule.id for rule in cases.rules]


def test_nothing_that_applies_to_either_is_no_pass(kernels: Kernels) -> None:
    run = compared("netdev.egress-absent", second=kernel("new", OLD))
    assert (only(run).state, exit_code(run)) == ("neither", 125)


# --- what is compared ---


def test_everything_is_compared_by_default(kernels: Kernels) -> None:
    names = [rule.id for rule in Cases.of(()).rules]
    assert names == [*RULES, *(f"scenario.{name}" for name in BUILTIN)]


def test_what_explore_found_is_compared_with_what_harmed_the_kernel_before(kernels: Kernels) -> None:
    found, harm = replace(LOCAL_IN, name="explored"), replace(BUILTIN["removal"], name="explored")
    for _ in range(2):
        save("explore", found, {"release": "6.12"}, "", before=(harm,))
    save("local-in", LOCAL_IN, {"release": "6.12"}, "")
    (case,) = Cases.of(("find",)).rules
    assert case.scripts == (Script(harm, ()), Script(found, ()))
    assert case in Cases.of(()).rules
    assert only(compared("find", second=kernel("new", OLD))).state == "alike"


def test_a_find_that_cannot_be_read_is_named(kernels: Kernels, tmp_path: Path) -> None:
    bundle = save("explore", replace(LOCAL_IN, name="explored"), {"release": "6.12"}, "")
    bundle.write_text("{")
    cases = Cases.of(())
    assert not [rule for rule in cases.rules if rule.id.startswith("find.")]
    assert [str(bundle) in note for note in cases.notes] == [True]


def test_a_file_is_compared(kernels: Kernels, tmp_path: Path) -> None:
    bundle = save("explore", LOCAL_IN, {"release": "6.12"}, "")
    (case,) = Cases.of((str(bundle),)).rules
    assert (case.id, case.scripts) == (f"file.{bundle.stem}", (Script(LOCAL_IN, ()),))


@pytest.mark.parametrize("pattern", ["order.acsending", "local-inn", "find"])
def test_what_names_nothing_is_the_user_s_mistake(kernels: Kernels, pattern: str) -> None:
    with pytest.raises(UserError) as error:
        Cases.of((pattern,))
    assert error.value.hint
