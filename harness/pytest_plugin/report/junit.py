"""JUnit: pytest's own file as Jenkins' schema has it (junit-10.xsd), its one suite taken apart into one for each kernel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from _pytest.junitxml import LogXML, xml_key
from _pytest.terminal import TerminalReporter

from harness.pytest_plugin.report.results import HOST, Result
from harness.pytest_plugin.selection import CANNOT, EXIT, FLAKY, KERNEL, LOST, SPOILT, WIDER, WORN

__all__ = ("Junit", "rewrite")

#: Properties of ours.
_OWN = (KERNEL, LOST, SPOILT, CANNOT, EXIT, FLAKY, WIDER, WORN)


class Junit(LogXML):
    """What pytest's ``--junitxml`` writes, as Jenkins' schema has it; why it was not written is kept, pytest's is a traceback."""

    unwritten = ""

    @staticmethod
    def taken_over(config: pytest.Config) -> Junit | None:
        """In the place of pytest's writer, with all that it has gathered; None without ``--junitxml``."""
        if (theirs := config.stash.get(xml_key, None)) is None:
            return None
        ours = Junit.__new__(Junit)
        ours.__dict__ = theirs.__dict__
        config.pluginmanager.unregister(theirs)
        config.pluginmanager.register(ours)
        config.stash[xml_key] = ours
        return ours

    def pytest_sessionfinish(self) -> None:
        """Write the file as pytest has it."""
        try:
            super().pytest_sessionfinish()
        except OSError as error:
            self.unwritten = f"{self.logfile} was not written: {error.strerror}"

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter, config: pytest.Config) -> None:
        """Say which file was written, if it was."""
        if not self.unwritten:
            super().pytest_terminal_summary(terminalreporter, config)

    def rewrite(self, ends: Iterable[Result]) -> str:
        """Rewrite the file for the schema.

        :param ends: as in :func:`rewrite`
        :returns: why it was not written, empty if it was
        """
        try:
            if not self.unwritten and Path(self.logfile).exists():
                rewrite(Path(self.logfile), ends)
        except OSError as error:
            self.unwritten = f"{self.logfile} was not written: {error.strerror}"
        return self.unwritten


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
