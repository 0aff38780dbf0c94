"""JUnit: pytest's own file as Jenkins' schema has it (junit-10.xsd), its one suite taken apart into one for each kernel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from harness.pytest_plugin.report.results import HOST, Result
from harness.pytest_plugin.selection import CANNOT, EXIT, FLAKY, KERNEL, LOST, SPOILT, WIDER, WORN

__all__ = ("rewrite",)

#: Properties of ours.
_OWN = (KERNEL, LOST, SPOILT, CANNOT, EXIT, FLAKY, WIDER, WORN)


def rewrite(file: Path, ends: Iterable[Result]) -> None:
    """Rewrite what ``--junitxml`` wrote. What a test records itself (``record_property``) stays where pytest puts it.

    :param ends: what became of the run itself, unless pytest has written that
    :raises OSError: it cannot be read or written
    """
    tree = ElementTree.parse(file)  # noqa: S314 - pytest has just written it
    root = tree.getroot()
    for suite in list(root):
        cases = [case for case in suite.findall("testcase") if case.get("name")]  # pytest leaves one nameless that did not end
        known = {(case.get("classname"), case.get("name")) for case in cases}
        cases += [_case(end) for end in ends if (end.module, end.name) not in known]
        kernels: dict[str, list[ElementTree.Element]] = {}
        for case in cases:
            kernels.setdefault(_taken_out(case), []).append(case)
        if set(kernels) == {HOST}:
            kernels = {suite.get("name", HOST): cases}
        for kernel, own in kernels.items():
            made = ElementTree.SubElement(root, "testsuite", {**suite.attrib, "name": kernel, **_counts(own)})
            made.extend([child for child in suite if child.tag == "properties"] + own)
        if kernels:
            root.remove(suite)
    tree.write(file, encoding="utf-8", xml_declaration=True)


def _taken_out(case: ElementTree.Element) -> str:
    """The kernel that a case says, which the schema has no place for."""
    kernel = HOST
    for properties in case.findall("properties"):
        for one in properties.findall("property"):
            if one.get("name") in _OWN:
                properties.remove(one)
                kernel = one.get("value", HOST) if one.get("name") == KERNEL else kernel
        if not len(properties):
            case.remove(properties)
    return kernel


def _case(end: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=end.module, name=end.name, time="0.000")
    ElementTree.SubElement(case, "error", message=_xml(end.message)).text = _xml(end.detail)
    return case


def _xml(text: str) -> str:
    return "".join(one if one in "\t\n\r" or " " <= one <= "\ud7ff" or "\ue000" <= one <= "\ufffd" or one > "\uffff" else "\ufffd"
                   for one in text)


def _counts(cases: list[ElementTree.Element]) -> dict[str, str]:
    counted = {name: sum(case.find(kind) is not None for case in cases)
               for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))}
    seconds = sum(float(case.get("time", 0)) for case in cases)
    return {name: str(count) for name, count in counted.items()} | {"tests": str(len(cases)), "time": f"{seconds:.3f}"}
