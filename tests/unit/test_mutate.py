"""Mutants of a core.c: what is made of which C, how they stand beside what is right, which compile, and what a run comes to."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from harness.cli.commands import nfharness
from harness.cli.mutate_page import page
from harness.conformance import RULES
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.statements import pinned
from harness.doctor import inventory
from harness.errors import GuestError, HostError, KernelDied, UserError
from harness.host.progress import Progress
from harness.images.kernels import Kernel
from harness.mutate import build, campaign, equivalents, report, run
from harness.mutate.equivalents import Proof
from harness.mutate.generate import OPERATORS, mutants
from harness.mutate.kept import Kept, MutantResult, State
from harness.mutate.mutant import Mutant
from harness.mutate.order import Order
from harness.mutate.schemata import chosen_in, on_line, with_mutants
from harness.outcome import KernelProfile
from tests import trees

HEAD = '#include "nf_internals.h"\n\n'


def made(body: str, operator: str, *, declared: str = "int f(struct a *p, int n)") -> list[str]:
    """What an operator makes of the statements of a function, in order."""
    return [one.mutated for one in mutants(f"{HEAD}{declared}\n{{\n{body}\n}}\n") if one.operator == operator]


@pytest.mark.parametrize(("operator", "body", "wrong"), [
    ("boundary", "g(n < 3);", ["g(n <= 3);"]),
    ("comparison", "g(n == 3);", ["g(n != 3);"]),
    ("comparison", "if (n == 3)\n\tg();", []),
    ("condition", "if (n == 3)\n\tg();", ["if (1)", "if (0)"]),
    ("condition", "if (g(n))\n\th();", ["if ((void)(g(n)), 1)", "if ((void)(g(n)), 0)"]),
    ("connective", "g(n && p);", ["g(n);", "g(p);"]),
    ("mask", "switch (n & M) {\ncase 1:\n\tg();\n}", ["switch (n)", "switch (n & ((M) >> 1))"]),
    ("constant", "n = 0;\ng(1);", ["n = 1;", "g(0);"]),
    ("constant", "WARN_ON_ONCE(1);", []),
    ("sibling", "g(NFPROTO_IPV4);", ["g(NFPROTO_IPV6);"]),
    ("errno", "return -EINVAL;", ["return -ENOENT;"]),
    ("arguments", "n = g(n, p);", ["n = g(p, n);"]),
    ("arguments", "n = container_of(p, struct a, b);", []),
    ("barrier", "rcu_assign_pointer(*p, n);", ["RCU_INIT_POINTER(*p, n);"]),
    ("barrier", "n = READ_ONCE(p->n);", ["n = (p->n);"]),
    ("free", "call_rcu(&p->head, h);", ["h(&p->head);"]),
    ("free", "kfree_skb_reason(p, n);", ["consume_skb(p);"]),
    ("call", "nf_queue_nf_hook_drop(p);", [";"]),
    ("call", "LIST_HEAD(sublist);", []),
    ("call", "mutex_lock(&m);", []),
    ("lock", "mutex_lock(&m);\ng();\nmutex_unlock(&m);", ["; … ;"]),
    ("assignment", "p->n = 3;\nn++;", [";", ";"]),
    ("assignment", "int i;\ni = 3;\ni = 4;", [";"]),
    ("assignment", "int i;\nif (n) {\n\ti = 3;\n} else {\n\ti = 4;\n}", []),
    ("loop-skipped", "for (n = 0; n < 3; n++)\n\tg();", ["for (n = 0; 0; n++)"]),
    ("loop-late", "for (n = 0; n < 3; n++)\n\tg();", ["for (n = 0 + 1; n < 3; n++)"]),
    ("loop-early", "while (n < 3)\n\tn++;", ["while (n + 1 < 3)"]),
    ("loop-endless", "for (n = 0; n < 3; n++)\n\tg();", ["for (n = 0; n < 3; n)"]),
    ("jump", "while (n) {\n\tcontinue;\n}", [";", "break;"]),
    ("jump", "goto a;\na:\n\tg();\nb:\n\th();", [";", "goto b;"]),
    ("return", "if (n)\n\treturn n;\nreturn 0;", [";", "return 0;", "return 1;"]),
])
def test_an_operator_gets_a_statement_wrong(operator: str, body: str, wrong: list[str]) -> None:
    assert made(body, operator) == wrong


def test_a_result_is_wrong_in_the_way_of_its_type() -> None:
    assert made("return n > 1;", "return", declared="static bool f(int n)") == ["return !(n > 1);"]
    assert made("return p;", "return", declared="static void *f(void *p)") == ["return NULL;"]
    assert made("if (p)\n\treturn;\ng();", "return", declared="void f(void *p)") == [";"]


def test_every_operator_makes_something_of_the_pinned_core_c() -> None:
    found = mutants("\n".join(pinned().lines))
    assert len(found) > 300
    assert {one.operator for one in found} == OPERATORS.keys()
    assert len({one.name for one in found}) == len(found)


def test_what_runs_at_boot_and_what_is_called_through_a_pointer_twice_is_no_mutant() -> None:
    assert not mutants(f"{HEAD}int __init f(void)\n{{\n\tg();\n\treturn 0;\n}}\n")
    assert made("n = nf_hook_entry_hookfn(&p[n], p, p);", "arguments") == []


def test_a_name_stays_when_lines_are_put_before() -> None:
    text = "void f(void)\n{\n\tg();\n\th();\n\tg();\n}\n"
    names = [one.name for one in mutants(HEAD + text)]
    assert [one.name for one in mutants(f"{HEAD}/* more */\n\n{text}")] == names
    assert len(set(names)) == 3


def test_what_is_right_stays_on_its_lines() -> None:
    source = f"{HEAD}int f(int n)\n{{\n\tif (n &&\n\t    n < 3)\n\t\tg(n,\n\t\t  1);\n\treturn n;\n}}\n"
    text = with_mutants(source, [one.changes for one in mutants(source)])
    line, _, rest = text.partition("#line ")[2].partition("\n")
    assert line == "2"
    assert len(rest.splitlines()) + int(line) - 1 == len(source.splitlines())
    assert "return" in rest.splitlines()[source.splitlines().index("\treturn n;") - 1]


@pytest.mark.skipif(not shutil.which("cc"), reason="no compiler")
def test_with_any_mutant_the_function_does_what_that_one_says(tmp_path: Path) -> None:
    """Compiled, for the shortest of kernels, and run with each."""
    source = f"{HEAD}int f(int n)\n{{\n\tint i, sum = 0;\n\n\tfor (i = 0; i < n; i++)\n\t\tsum += i;\n\treturn sum;\n}}\n"
    found = mutants(source)
    text = with_mutants(source, [one.changes for one in found])
    body = text[text.index("#line"):]
    before = "#include <stdio.h>\n#include <stdlib.h>\nstatic int chosen;\n#define NFH_FAULT(n) (chosen == (n))\n"
    (tmp_path / "f.c").write_text(f"{before}{body}\n"
                                  'int main(int c, char **v) { chosen = atoi(v[1]); printf("%d\\n", f(4)); return 0; }\n')
    subprocess.run(["cc", "-o", str(tmp_path / "f"), str(tmp_path / "f.c")], check=True)

    def with_(number: int) -> int:
        return int(subprocess.run([tmp_path / "f", str(number)], check=True, capture_output=True, text=True, timeout=30).stdout)

    assert with_(0) == 6
    expected = {"loop-skipped": [0], "loop-early": [3], "boundary": [10], "return": [0]}
    for operator, results in expected.items():
        assert [with_(number) for number, one in enumerate(found, 1) if one.operator == operator] == results, operator


def test_an_errors_line_names_its_mutant() -> None:
    source = f"{HEAD}void f(int n)\n{{\n\tg(n < 1);\n\th();\n}}\n"
    found = mutants(source)
    lines = (text := with_mutants(source, [one.changes for one in found], apart=True)).splitlines()
    for number, one in enumerate(found, 1):
        wrong = next(at for at, line in enumerate(lines, 1) if line == f"{one.changes[0].wrong} /* {number} */")
        assert on_line(text, wrong) == number
        assert not lines[wrong].startswith(")") or on_line(text, wrong + 1) == number
    assert on_line(text, 1) is None
    said = f"include/list.h:3:1: error: bad\n/x/net/netfilter/core.c:{wrong}:2: note: in expansion of macro\n"
    assert build._blamed(said, text) == {number: "bad"}


def test_the_preprocessor_says_which_mutants_there_are() -> None:
    assert chosen_in("if (nfh_fault(3)) ; else x(nfh_fault(12)); nfh_fault(unsigned int number)") == {3, 12}


def test_rules_of_the_lines_come_first_and_quick_ones_before_slow_ones() -> None:
    source = "\n".join(pinned().lines)
    order = Order(pinned(), tuple(RULES.values()), {"limit.1024": 9.0})
    (one,) = [one for one in mutants(source) if one.operator == "boundary" and "MAX_HOOK_COUNT" in one.original]
    first, others = order.of(one)
    names = [rule.id for rule in first]
    assert set(names[:4]) < {"limit.per-point", "limit.per-device", "limit.layer-2", "limit.batch", "limit.egress", "inet.rollback",
                             "inet.first-half"}
    assert names.index("limit.1024") < names.index("order.ascending")
    assert {rule.id for rule in [*first, *others]} == RULES.keys()
    assert len(first) + len(others) == len(RULES)


def test_of_a_function_that_no_branch_is_about_the_callers_rules_come_first() -> None:
    core = pinned()
    elsewhere = Mutant("x", "nf_hook_entries_get_hook_ops", 1, "call", "", "", ())
    first, _ = Order(core, tuple(RULES.values()), {}).of(elsewhere)
    assert "order.ascending" in [rule.id for rule in first]


def _target() -> Target:
    kernel = Kernel("6.12-own", "abcdef", "6.12", "tree", (), tree="")
    facts = {"profile": KernelProfile(release="6.12-own").to_json()}
    return Target("6.12", kernel, cast(Any, SimpleNamespace(backend="qemu", accelerator="tcg", facts=facts)))


class _Kernel:
    """Stands for :func:`harness.conformance.matrix.run`: rules and what they come to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, states: dict[str, str], profile: Exception | None = None) -> None:
        self.ran: list[str] = []
        self._states = states

        async def rules(given: Any, on: Any, tell: Any, *, jobs: int, enough: Any) -> None:
            assert [one.source.numbers for one in on] == [[7]]
            for rule in given:
                self.ran.append(rule.id)
                if (state := states.get(rule.id, "conformant")) == "dies":
                    raise GuestError("the agent is gone")
                result = RuleResult(rule.id, "k", cast(Any, state), (), "because")
                tell(result)
                if enough(result):
                    break

        async def probed(_source: Any, _numbers: Any) -> dict[str, Any]:
            if profile:
                raise profile
            return KernelProfile(release="6.12-own").to_json()

        monkeypatch.setattr(run, "run", rules)
        monkeypatch.setattr(run, "profile_of", probed)


def _examined(**more: Any) -> run.Found:
    first = [RULES[name] for name in ("order.ascending", "order.stable")]
    return asyncio.run(run.examined(_target(), [7], first, [RULES["drop.eperm"], RULES["drop.errno"]], **more))


def test_the_first_rule_that_tells_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = _Kernel(monkeypatch, {"order.ascending": "lost", "drop.eperm": "different"})
    found = _examined()
    assert kernel.ran == ["order.ascending"]
    assert found.caught
    assert found.ran == 1


def test_with_everything_all_rules_run(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = _Kernel(monkeypatch, {"order.ascending": "different", "drop.eperm": "different"})
    assert [one.rule for one in _examined(everything=True).told] == ["order.ascending", "drop.eperm"]
    assert len(kernel.ran) == 4


def test_only_a_survivor_has_run_the_whole_check(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = _Kernel(monkeypatch, {})
    assert not _examined().caught
    assert kernel.ran == ["order.ascending", "order.stable", "drop.eperm", "drop.errno"]


def test_a_kernel_that_dies_while_it_is_probed_is_caught_and_one_that_is_inconclusive_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _Kernel(monkeypatch, {}, KernelDied("panic"))
    assert _examined().caught
    _Kernel(monkeypatch, {"order.stable": "inconclusive", "drop.eperm": "dies"}, GuestError("no"))
    found = _examined()
    assert not found.caught
    assert found.doubts == ["order.stable: because", "its profile cannot be probed: no", "the agent is gone"]


def test_a_guest_has_the_mutant_before_anything_is_asked_of_it() -> None:
    calls: list[tuple[Any, ...]] = []

    class Guest:
        async def call(self, *arguments: Any, stdin: bytes = b"") -> bytes:
            calls.append((*arguments, stdin))
            return b'{"profile": {}}'

    @asynccontextmanager
    async def guest() -> Any:
        yield Guest()

    assert asyncio.run(run.profile_of(cast(Any, SimpleNamespace(guest=guest)), [3, 17])) == {}
    assert calls == [("harness.guest.files:receive", "/sys/module/kernel/parameters/nfh_faults", b"3,17"),
                     ("harness.guest.profile:tell", b"")]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_what_is_known_is_kept_by_kernel_and_code(state: Path) -> None:
    kept, verdict = Kept(Path("/cache/mutants/6.12_a")), MutantResult("f:call:abc", "survives", ran=3)
    kept.keep(verdict)
    kept.keep_baseline({"order.stable": ("conformant", 0.5)})
    assert Kept(Path("/cache/mutants/6.12_a")).verdict("f:call:abc") == verdict
    assert kept.baseline() == {"order.stable": ("conformant", 0.5)}
    assert Kept(Path("/cache/mutants/6.12_b")).verdict("f:call:abc") is None
    (kept.directory / "f:call:abc.json").write_text("{")
    assert kept.verdict("f:call:abc") is None
    kept.keep(verdict)
    kept.forget(["f:call:abc"])
    assert kept.verdict("f:call:abc") is None
    assert kept.baseline() == {"order.stable": ("conformant", 0.5)}
    (kept.directory / "none.json").write_text("[]")
    assert kept.baseline() == {}


class _Examined:
    """Stands for :func:`harness.mutate.run.examined`.

    :ivar asked: of which mutant, whether for the rules of its function, the others, and the profile
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caught_by: dict[int, str]) -> None:
        self.asked: list[tuple[int, bool, bool, bool]] = []

        async def examined(_on: Any, numbers: Any, first: Any, others: Any, *, profile: bool = True) -> run.Found:
            self.asked.append((numbers[0], bool(first), bool(others), profile))
            telling = {"first": first, "others": others}.get(caught_by.get(numbers[0], ""))
            told = [RuleResult(telling[0].id, "k", "lost", (), "panic")] if telling else []
            doubts = ["a doubt"] if caught_by.get(numbers[0]) == "nobody" and first else []
            return run.Found(told, doubts=doubts, ran=3, seconds=1.0)

        monkeypatch.setattr(campaign, "examined", examined)


def _campaign(found: tuple[Mutant, ...]) -> campaign.Campaign:
    known = dict.fromkeys(RULES, ("conformant", 0.1))
    return campaign.Campaign(_target(), build.Built(Path("/x/k/tree"), found, {}), pinned(), known, Kept(Path("/x/k")))


def test_rules_of_the_function_run_for_all_mutants_before_the_others_do_for_any(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [one for one in mutants("\n".join(pinned().lines)) if one.function == "nf_hook_entries_grow"][:4]
    kernel, told = _Examined(monkeypatch, {1: "first", 2: "others", 4: "nobody"}), list[MutantResult]()
    one = _campaign(tuple(found))
    asyncio.run(one.run(found, {found[2].name}, 1, lambda _mutant, verdict: told.append(verdict)))
    assert kernel.asked == [*((number, True, False, False) for number in (1, 2, 3, 4)), (2, False, True, True), (4, False, True, True)]
    assert [(verdict.state, verdict.whole, verdict.ran) for verdict in told] == [
        ("caught", False, 3), ("survives", False, 3), ("survives", False, 3), ("unclear", False, 3),
        ("caught", True, 6), ("unclear", True, 6)]
    assert told[0].by in RULES
    assert (told[0].how, told[-1].how) == ("lost: panic", "a doubt")
    judged_now = [report.Judged(mutant, one.kept.verdict(mutant.name)) for mutant in found]
    assert [each.outcome for each in judged_now] == ["caught", "caught", "unfinished", "unclear"]
    kernel.asked.clear()
    asyncio.run(one.run(found, (), 1, lambda _mutant, verdict: told.append(verdict)))  # the proof has gone
    assert kernel.asked == [(3, False, True, True)]
    assert [each.outcome for each in (report.Judged(found[2], one.kept.verdict(found[2].name)),)] == ["survives"]


def test_a_rule_that_is_not_conformant_without_a_mutant_is_not_asked(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = [one for one in mutants("\n".join(pinned().lines)) if one.function == "nf_hook_slow"][:1]
    asked: list[str] = []

    async def examined(_on: Any, _numbers: Any, first: Any, others: Any, **_: Any) -> run.Found:
        asked.extend(rule.id for rule in (*first, *others))
        return run.Found()

    monkeypatch.setattr(campaign, "examined", examined)
    known = {rule: ("different" if rule == "drop.eperm" else "conformant", 0.1) for rule in RULES}
    one = replace(_campaign(tuple(source)), known=known)
    asyncio.run(one.run(source, (), 1, lambda _mutant, _verdict: None))
    assert set(asked) == RULES.keys() - {"drop.eperm"}
    assert one.silent == {"drop.eperm": "different"}


def test_the_rules_without_a_mutant_run_once_and_one_must_be_conformant(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came: dict[str, str] = {"drop.eperm": "inconclusive"}
    runs: list[list[str]] = []

    async def rules(given: Any, on: Any, _tell: Any, *, jobs: int) -> list[RuleResult]:
        runs.append([rule.id for rule in given])
        return [RuleResult(rule.id, "k", cast(Any, came.get(rule.id, came.get("all", "conformant"))), (), seconds=0.5) for rule in given]

    monkeypatch.setattr(campaign, "run", rules)
    kept = Kept(Path("/x/k"))
    assert asyncio.run(campaign.baseline(_target(), kept, 2, Progress(quiet=True)))["drop.eperm"] == ("inconclusive", 0.5)
    came.clear()
    for _ in range(2):
        known = asyncio.run(campaign.baseline(_target(), kept, 2, Progress(quiet=True)))
        assert known == dict.fromkeys(RULES, ("conformant", 0.5))
    assert runs == [list(RULES), ["drop.eperm"]]
    came["all"] = "lost"
    with pytest.raises(HostError, match="none can tell"):
        asyncio.run(campaign.baseline(_target(), Kept(Path("/x/other")), 2, Progress(quiet=True)))


ONE, OTHER = (Mutant(name, "f", 3, "call", "g();", ";", ()) for name in ("f:call:1", "f:call:2"))


def judged(*states: State | None) -> list[report.Judged]:
    verdicts = [MutantResult(ONE.name, one, "order.stable", "different: x", True, 1, 2.0, 1.0) if one else None for one in states]
    return [report.Judged(ONE, one) for one in verdicts]


@pytest.mark.parametrize(("states", "status"), [
    (["caught"], 0), (["caught", "survives"], 1), (["caught", "unclear"], 125), (["caught", None], 125), ([], 125),
    (["unclear", "survives"], 1),
])
def test_the_exit_status_is_one_if_any_survives(states: list[State | None], status: int) -> None:
    assert report.exit_code(judged(*states)) == status


@pytest.mark.parametrize(("sanitizer", "outcome"), [("", "equivalent"), ("KCSAN", "unseen")])
def test_a_proof_excuses_a_survivor_and_is_wrong_if_it_is_caught(sanitizer: str, outcome: str) -> None:
    proof = Proof("f", "g();", ";", "nothing reads it", sanitizer)
    proved = [replace(one, proof=proof) for one in judged("survives", "caught", "unclear", None)]
    assert [one.outcome for one in proved] == [outcome, "unproved", outcome, "not run"]
    assert [report.exit_code([one]) for one in proved] == [0, 1, 0, 125]
    assert proved[0].why == ("needs KCSAN: nothing reads it" if sanitizer else "nothing reads it")


def test_a_proof_is_of_a_text_that_is_there_once_or_of_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalents, "PROOFS", (Proof("f", "g();", ";", "one"), Proof("f", "h();", ";", "second", nth=2)))
    once, twice = (f"{HEAD}void f(void)\n{{\n\tg();\n\th();\n{more}\n}}\n" for more in ("", "\tg();\n\th();"))
    assert [proof.why for proof in equivalents.proofs(mutants(once)).values()] == ["one"]
    found = mutants(twice)
    assert equivalents.proofs(found) == {found[3].name: Proof("f", "h();", ";", "second", nth=2)}


def test_no_mutant_has_two_proofs_and_those_of_the_pinned_core_c_have_some() -> None:
    assert len({(one.function, one.original, one.mutated, one.nth) for one in equivalents.PROOFS}) == len(equivalents.PROOFS)
    assert all(one.why for one in equivalents.PROOFS)
    assert len(equivalents.proofs(mutants("\n".join(pinned().lines)))) > 20


def test_a_page_has_core_c_and_its_survivors_first(state: Path) -> None:
    text = "void f(void)\n{\n\tg(<b>);\n}"
    those = [*judged("caught"), report.Judged(OTHER, MutantResult(OTHER.name, "survives", whole=True))]
    shown = page("/home/me/linux", _target(), text, those, {"x": "why"})
    assert shown.index("Not caught") < shown.index("survives</span> call") < shown.index('id="l1"')
    assert "g(&lt;b&gt;);" in shown
    assert "order.stable" in shown


def command(*arguments: str) -> Any:
    return CliRunner().invoke(nfharness, ["mutate", *arguments])


@pytest.fixture
def tree(state: Path) -> Path:
    built = trees.in_tree(state / "linux")
    (built / "net/netfilter").mkdir(parents=True, exist_ok=True)
    (built / "net/netfilter/core.c").write_text(f"{HEAD}void f(void)\n{{\n\tg();\n}}\n\nint h(int n)\n{{\n\treturn n < 2;\n}}\n")
    return built


def test_a_list_builds_nothing(tree: Path) -> None:
    shown = command("--source", str(tree), "--list")
    assert shown.exit_code == 0
    assert "f:5 call: g(); → ;" in shown.output
    assert not (tree.parent / "cache").exists()
    found = json.loads(command("--source", str(tree), "--list", "--only", "h", "--operator", "boundary", "--json").output)
    assert [one["mutated"] for one in found] == ["return n <= 2;"]
    assert len(json.loads(command("--source", str(tree), "--list", "--limit", "2", "--json").output)) == 2


@pytest.mark.parametrize(("arguments", "hint"), [
    (("--only", "hh"), "h"), (("--operator", "boundry"), "boundary"),
])
def test_what_there_is_not_is_a_mistake(tree: Path, arguments: tuple[str, ...], hint: str) -> None:
    error = command("--source", str(tree), "--list", *arguments).exception
    assert isinstance(error, UserError)
    assert hint in str(error.hint)


def test_no_tree_is_a_mistake(state: Path) -> None:
    assert isinstance(command("--source", str(state), "--list").exception, UserError)


def test_a_kernel_with_mutants_is_current_while_its_tree_is(tree: Path) -> None:
    from harness.images import kernel_tree  # noqa: PLC0415

    made = tree.parent / "cache/mutants/6.99_a"
    made.mkdir(parents=True)
    for identity, current in ((kernel_tree.read(str(tree)).identity, True), ("another", False)):
        (made / "record.json").write_text(json.dumps({"origin": str(tree), "identity": identity}))
        assert [one.current for one in inventory.items() if one.kind == "kernel with mutants"] == [current]


_MAKEFILE = """VERSION = 6
PATCHLEVEL = 99
net/netfilter/core.o: FORCE
	cc -Iinclude -c -o $@ net/netfilter/core.c
net/netfilter/core.i: FORCE
	cc -Iinclude -E -o $@ net/netfilter/core.c
vmlinux bzImage: net/netfilter/core.o
	cat net/netfilter/core.c > compiled.c
FORCE:
"""
_BITMAP = """#define DECLARE_BITMAP(name, count) unsigned long name[((count) + 63) / 64]
#define unlikely(condition) (condition)
#define __always_inline inline __attribute__((always_inline))
typedef _Bool bool;
static inline bool test_bit(int number, unsigned long *map) { return map[number / 64] >> (number % 64) & 1; }
int bitmap_parselist(const char *text, unsigned long *map, int count);
"""
_PARAMETERS = """struct kernel_param;
struct kernel_param_ops { int (*set)(const char *text, const struct kernel_param *param); };
#define __module_param_call(...)
"""
_CORE = f"""{HEAD}void g(int *p, int n);
#define TWICE(text) text; text

void f(int *p, int n)
{{
	TWICE(g(p, n < 2));
#ifdef CONFIG_ABSENT
	g(p, 7);
#endif
	g(p, n);
}}
"""


@pytest.fixture
def toy(tree: Path) -> Path:
    """A tree of which make compiles core.c, and no more."""
    (tree / "Makefile").write_text(_MAKEFILE)
    (tree / "include/linux/bitmap.h").write_text(_BITMAP)
    (tree / "include/linux/moduleparam.h").write_text(_PARAMETERS)
    (tree / "net/netfilter/nf_internals.h").write_text("")
    (tree / "net/netfilter/core.c").write_text(_CORE)
    (tree / "net/netfilter/core.o").write_text("")
    (tree / "net/netfilter/.core.o.cmd").write_text("savedcmd_net/netfilter/core.o := cc -Wp,-MMD,x -c\n")
    return tree


needs_make = pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="no make, or no compiler")


@needs_make
def test_what_does_not_compile_is_left_out_and_the_tree_stays_as_it_is(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = trees.snapshot(toy), mutants(_CORE)
    made = build.built(str(toy), found, Progress(quiet=True))
    assert trees.snapshot(toy) == before
    assert (made.tree / "net/netfilter/core.c").read_text() == _CORE
    compiled = (made.tree / "compiled.c").read_text()
    assert compiled == with_mutants(_CORE, [one.changes for one in made.mutants])
    assert {one.operator for one in made.mutants} == {"call", "boundary", "comparison", "constant"}
    why = {one.operator: made.left_out[one.name] for one in found if one.name in made.left_out and one.line == 12}
    assert why.keys() == {"arguments"}
    assert "without a cast" in why["arguments"]
    assert {made.left_out[one.name] for one in found if one.line == 10} >= {"this configuration does not compile it"}
    assert [made.number(one) for one in made.mutants] == list(range(1, len(made.mutants) + 1))
    monkeypatch.setattr(build, "_Build", None)  # what is made is not made again
    assert build.built(str(toy), found, Progress(quiet=True)) == made


@pytest.mark.parametrize(("name", "command", "said"), [
    ("gone.o", "cc", "has no objects"), ("core.o", "ccache no-such-cc", "is not installed"), ("core.o", "", "not what kbuild writes"),
])
def test_a_tree_that_would_be_compiled_from_scratch_is_refused(toy: Path, name: str, command: str, said: str) -> None:
    (toy / "net/netfilter/core.o").rename(toy / "net/netfilter" / name)
    (toy / "net/netfilter/.core.o.cmd").write_text(f"cmd_net/netfilter/core.o := {command} -Wp,-MD,x -c\n" if command else "")
    with pytest.raises(HostError, match=said) as error:
        build.built(str(toy), (), Progress(quiet=True))
    assert error.value.hint
    assert not list((toy.parent / "cache/mutants").glob("[!.]*"))


@needs_make
def test_a_mutant_that_no_error_names_is_found_by_halves(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_blamed", lambda _said, _apart: {})
    found = mutants(_CORE)
    made = build.built(str(toy), found, Progress(quiet=True))
    assert {one.operator for one in made.mutants} == {"call", "boundary", "comparison", "constant"}


@needs_make
def test_a_core_c_that_does_not_compile_by_itself_is_said(toy: Path) -> None:
    text = _CORE.replace("void g(int *p, int n);", "void g(struct none p, int n);")
    (toy / "net/netfilter/core.c").write_text(text)
    with pytest.raises(HostError, match="even as it is"):
        build.built(str(toy), mutants(text), Progress(quiet=True))
    assert not list((toy.parent / "cache/mutants").glob("[!.]*"))


def test_what_is_no_core_c_is_said(tree: Path) -> None:
    (tree / "net/netfilter/core.c").write_text("int f(int n)\n{\n\treturn n < 2;\n}\n")
    with pytest.raises(HostError, match="not there once"):
        build.built(str(tree), mutants((tree / "net/netfilter/core.c").read_text()), Progress(quiet=True))
