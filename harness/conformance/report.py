"""Results for programs: JSON, KTAP version 1 and JUnit. No state is lost in any of them.

=============== ===================== ================
state           KTAP                  JUnit
=============== ===================== ================
conformant      ok                    no child
different       not ok                failure
not_applicable  ok … # SKIP           skipped
inconclusive    not ok … # ERROR      error
lost            not ok … # ERROR      error
=============== ===================== ================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from harness.conformance.judge import State
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.reference import PREFIX
from harness.errors import ExitCode

__all__ = ("as_json", "exit_code", "junit", "ktap", "lines_of", "missed", "printable")

_NO_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def exit_code(results: Sequence[RuleResult], *, dead_is_different: bool = False) -> int:
    """1 if any is different, or the kernel died of it; else 125 if any is inconclusive, or none of the rules applies; else 0.

    :param dead_is_different: 1 also for a kernel that died before it could be asked anything, which is 125 otherwise
    """
    states = {result.state for result in results}
    if "different" in states or any(result.state == "lost" and (result.asked or dead_is_different) for result in results):
        return ExitCode.DIFFERENT
    rules = [result for result in results if not result.rule.startswith(PREFIX)]
    nothing_applies = bool(rules) and all(result.state == "not_applicable" for result in rules)
    return ExitCode.CANNOT if nothing_applies or states & {"inconclusive", "lost"} else ExitCode.CONFORMANT


def missed(results: Sequence[RuleResult]) -> dict[tuple[str, str], list[str]]:
    """(kernel, reference) → the rules that apply to the reference and not to the kernel."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.applies_to:
            found.setdefault((result.kernel, result.applies_to), []).append(result.rule)
    return found


def lines_of(lines: Sequence[tuple[int, int]]) -> str:
    """``103-118, 142``."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in lines)


def as_json(targets: Sequence[Target], results: Sequence[RuleResult]) -> dict[str, Any]:
    """What ``check --json`` prints."""
    return {
        "kernels": [target.identity() for target in targets],
        "results": [
            {"rule": one.rule, "kernel": one.kernel, "state": one.state, "core_lines": [list(lines) for lines in one.core_lines],
             "own_lines": [list(lines) for lines in one.own_lines], "promise": list(one.promise),
             "reason": one.reason, "seconds": round(one.seconds, 3), "bundle": str(one.bundle) if one.bundle else None,
             "details": list(one.details)}
            for one in results
        ],
        "applies_to_reference_only": [{"kernel": kernel, "reference": reference, "rules": rules}
                                      for (kernel, reference), rules in missed(results).items()],
    }


def ktap(results: Sequence[RuleResult]) -> Iterator[str]:
    """Lines of KTAP, a subtest for each kernel."""
    kernels = list(dict.fromkeys(result.kernel for result in results))
    yield "KTAP version 1"
    yield f"1..{len(kernels)}"
    for number, kernel in enumerate(kernels, 1):
        own = [result for result in results if result.kernel == kernel]
        name = kernel.replace("#", "-")  # the label of a tree has one, behind which KTAP expects a directive
        yield "  KTAP version 1"
        yield f"  # Subtest: {name}"
        yield f"  1..{len(own)}"
        for position, result in enumerate(own, 1):
            yield from (f"  # {_line(detail)}" for detail in (*result.promise, *result.details))
            if result.bundle:
                yield f"  # bundle: {result.bundle}"
            yield f"  {_ktap_result(position, result)}"
        for (_, reference), rules in missed(own).items():
            yield f"  # apply to {reference} and not here: {', '.join(rules)}"
        yield f"  {_ktap_totals(own)}"
        yield f"{'ok' if exit_code(own) == ExitCode.CONFORMANT else 'not ok'} {number} {name}"
    yield _ktap_totals(results)


def _ktap_result(position: int, result: RuleResult) -> str:
    reason = _line(result.reason).replace("#", "")
    match result.state:
        case "conformant":
            return f"ok {position} {result.rule}"
        case "different":
            return f"not ok {position} {result.rule}"
        case "not_applicable":
            return f"ok {position} {result.rule} # SKIP {reason}"
        case _:
            return f"not ok {position} {result.rule} # ERROR {result.state}: {reason}"


def _ktap_totals(results: Sequence[RuleResult]) -> str:
    count: Counter[State] = Counter(result.state for result in results)
    error = count["inconclusive"] + count["lost"]
    return (f"# Totals: pass:{count['conformant']} fail:{count['different']} xfail:0 xpass:0 "
            f"skip:{count['not_applicable']} error:{error}")


def _line(text: str) -> str:
    return " ".join(text.split())


def printable(text: str) -> str:
    """What XML and HTML can hold of a text."""
    return _NO_XML.sub("�", text)


def junit(results: Sequence[RuleResult]) -> bytes:
    """JUnit XML as Jenkins' schema has it (junit-10.xsd), a suite for each kernel. What it has no place for is in ``system-out``."""
    counts = _counts(results)
    del counts["skipped"]  # the schema has none here
    root = ElementTree.Element("testsuites", counts, name="nfharness check")
    for kernel in dict.fromkeys(result.kernel for result in results):
        own = [result for result in results if result.kernel == kernel]
        suite = ElementTree.SubElement(root, "testsuite", _counts(own), name=kernel)
        for result in own:
            _junit_case(suite, result)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
    return text.encode()


def _counts(results: Sequence[RuleResult]) -> dict[str, str]:
    count: Counter[State] = Counter(result.state for result in results)
    return {"tests": str(len(results)), "failures": str(count["different"]), "errors": str(count["inconclusive"] + count["lost"]),
            "skipped": str(count["not_applicable"]), "time": f"{sum(result.seconds for result in results):.3f}"}


def _junit_case(suite: ElementTree.Element, result: RuleResult) -> None:
    case = ElementTree.SubElement(suite, "testcase", name=result.rule, classname=result.kernel, time=f"{result.seconds:.3f}")
    kinds: dict[State, str] = {"different": "failure", "not_applicable": "skipped", "inconclusive": "error", "lost": "error"}
    if result.state in kinds:
        attributes = {"message": printable(result.reason)}
        if result.state != "not_applicable":
            attributes["type"] = result.state
        child = ElementTree.SubElement(case, kinds[result.state], attributes)
        child.text = printable("\n".join((*result.promise, *result.details))) or None
    facts = {"state": result.state, "core.c lines": lines_of(result.core_lines), "bundle": str(result.bundle or "none")}
    if result.applies_to:
        facts["applies to"] = result.applies_to
    ElementTree.SubElement(case, "system-out").text = "".join(f"{name}: {fact}\n" for name, fact in facts.items())
