"""What two kernels are compared with: rules, built-in scenarios, what explore found, files; each as a rule, so that the matrix runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from harness.conformance import RULES
from harness.conformance.bundle import Bundle, finds, load
from harness.conformance.reference import FIELDS, chosen_fields
from harness.conformance.rule import Rule, Script
from harness.errors import UserError
from harness.scenario.builtin import BUILTIN
from harness.scenario.reader import quote, suggest
from harness.scenario.step import Scenario

__all__ = ("FIND", "SCENARIO", "Cases")

SCENARIO, FIND, _FILE = "scenario.", "find.", "file."
#: Finds that are run: the newest.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Cases:
    """What two kernels are compared with.

    :param rules: the cases; those that are no rules of core.c are called ``scenario.NAME``, ``find.BUNDLE``, ``file.NAME``
    :param fields: of the profile
    :param notes: which finds are left out, and why
    """

    rules: tuple[Rule, ...]
    fields: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[str]) -> Cases:
        """Everything for no pattern; else what the patterns name, and the fields of the profile that have a say in it.

        :param patterns: ids of rules, prefixes, globs; names of built-in scenarios; ``scenario``, ``find``, ``profile.FIELD``; files
        :raises UserError: one of them names nothing
        """
        notes: list[str] = []
        known = {**RULES, **_scenarios()}
        if not patterns or any(one.startswith(FIND[:-1]) for one in patterns):
            known |= {rule.id: rule for rule in _finds(notes)}
        if not patterns:
            return cls(tuple(known.values()), tuple(FIELDS), tuple(notes))
        named = set(chosen_fields(patterns))
        found: dict[str, Rule] = {}
        for pattern in (one for one in patterns if not chosen_fields([one])):
            found |= _named(pattern, known)
        named.update(*(rule.reads() for rule in found.values()))
        return cls(tuple(found.values()), tuple(name for name in FIELDS if name in named), tuple(notes))


def _scenarios() -> dict[str, Rule]:
    return {f"{SCENARIO}{name}": Rule(f"{SCENARIO}{name}", f"{one.summary}.", (Script(one, ()),), _needs(one))
            for name, one in BUILTIN.items()}


def _needs(scenario: Scenario) -> tuple[str, ...]:
    """Probes that must say yes for the scenario's devices and rulesets to be made."""
    ground = scenario.topology
    made = {"bridge": bool(ground.bridges), "br_netfilter": any(one.netfilter for one in ground.bridges), "vlan": bool(ground.vlans),
            "veth_gro": any(link.gro for link in ground.links)}
    return (*(name for name, there in made.items() if there),
            *sorted({need for step in scenario.steps for need in step.facts.needs}))


def _finds(notes: list[str]) -> Iterator[Rule]:
    """The newest.

    :param notes: gets what is not among them
    """
    everything = finds()
    for name, one in islice(everything, _MOST):
        if isinstance(one, UserError):
            notes.append(f"{one.message}: left out")
        else:
            yield _of(f"{FIND}{name}", one)
    if left := sum(1 for _ in everything):
        notes.append(f"{left} older finds left out")


def _of(name: str, bundle: Bundle) -> Rule:
    """A bundle: what harmed the kernel runs first, in the same guest."""
    scripts = (*(Script(one, ()) for one in bundle.before), bundle.script)
    summary = bundle.scenario.summary or f"a scenario of {len(bundle.scenario.steps)} steps"
    needs = (need for one in (*bundle.before, bundle.scenario) for need in _needs(one))
    return Rule(name, f"{summary}.", scripts, tuple(dict.fromkeys(needs)))


def _named(pattern: str, known: Mapping[str, Rule]) -> dict[str, Rule]:
    prefix = f"{pattern.rstrip('.')}."
    matching = {name: rule for name, rule in known.items()
                if fnmatchcase(name, pattern) or name.startswith(prefix) or name == f"{SCENARIO}{pattern}"}
    if matching:
        return matching
    if "/" in pattern or pattern.endswith(".json"):
        name = f"{_FILE}{Path(pattern).stem}"
        return {name: _of(name, load(Path(pattern)))}
    if prefix == FIND:
        raise UserError("explore has found nothing here", hint="explore a kernel, or name a bundle's file")
    raise UserError(f"no rule, scenario or file {quote(pattern)}", hint=suggest(pattern, [*RULES, *BUILTIN], what="there are"))
