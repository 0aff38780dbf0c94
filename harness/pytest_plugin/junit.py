"""JUnit: pytest's own file, its one suite taken apart into one for each kernel."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from harness.pytest_plugin.results import HOST
from harness.pytest_plugin.selection import KERNEL

__all__ = ("split_by_kernel",)


def split_by_kernel(file: Path) -> None:
    """Rewrite what ``--junitxml`` wrote. :raises OSError: it cannot be read or written"""
    tree = ElementTree.parse(file)  # noqa: S314 - pytest has just written it
    root = tree.getroot()
    for suite in list(root):
        kernels: dict[str, list[ElementTree.Element]] = {}
        for case in suite.findall("testcase"):
            found = case.find(f"properties/property[@name='{KERNEL}']")
            kernels.setdefault(HOST if found is None else found.get("value", HOST), []).append(case)
        for kernel, cases in kernels.items():
            own = ElementTree.SubElement(root, "testsuite", {**suite.attrib, "name": kernel, **_counts(cases)})
            own.extend([child for child in suite if child.tag == "properties"] + cases)
        if kernels:
            root.remove(suite)
    tree.write(file, encoding="utf-8", xml_declaration=True)


def _counts(cases: list[ElementTree.Element]) -> dict[str, str]:
    counted = {name: sum(case.find(kind) is not None for case in cases)
               for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))}
    seconds = sum(float(case.get("time", 0)) for case in cases)
    return {name: str(count) for name, count in counted.items()} | {"tests": str(len(cases)), "time": f"{seconds:.3f}"}
