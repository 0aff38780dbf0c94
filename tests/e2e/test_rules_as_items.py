"""``pytest --pyargs harness.conformance``: the rules as pytest items."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.conftest import CHECKOUT

pytestmark = pytest.mark.slow

KERNEL = "6.12"
WANTED = "order.ascending or order.stable or netdev.absent or test_profile"


@pytest.mark.parametrize("spread", [(), ("-n2",), ("--dist", "load", "--tx", "2*popen")], ids=["one process", "two", "gateways"])
def test_each_rule_is_an_item_of_each_kernel(ready: None, tmp_path: Path, spread: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "harness.conformance", "--kernel", KERNEL,
               "-k", WANTED, f"--junitxml={tmp_path / 'results.xml'}", *spread]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done
    found = ElementTree.parse(tmp_path / "results.xml").iter("testcase")  # noqa: S314 - our own
    cases = {case.get("name"): [child.tag for child in case] for case in found}
    assert cases == {f"test_rule[{KERNEL}-order.ascending]": [], f"test_rule[{KERNEL}-order.stable]": [],
                     f"test_rule[{KERNEL}-netdev.absent]": ["skipped"], f"test_profile[{KERNEL}]": []}
    assert "the probe netdev_absent says no" in (tmp_path / "results.xml").read_text()
