"""What a kernel must have for a test, and what is said where it has not."""

from __future__ import annotations

import platform

import pytest

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin.kernel import Configuration, RunningKernel
from harness.pytest_plugin.mistakes import Mistake

CONFIG = """
CONFIG_NETFILTER_INGRESS=y
CONFIG_NETFILTER_EGRESS=y
CONFIG_NF_TABLES=m
CONFIG_LOCALVERSION=""
# CONFIG_NETFILTER_XTABLES_LEGACY is not set
"""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> RunningKernel:
    monkeypatch.setattr(platform, "release", lambda: "6.12.1")
    made = RunningKernel("6.12", KernelProfile())
    vars(made)["config"] = Configuration("6.12.1", CONFIG)
    return made


def test_what_is_built_in_or_a_module_is_there(kernel: RunningKernel) -> None:
    kernel.require("NETFILTER_EGRESS", "CONFIG_NF_TABLES")


@pytest.mark.parametrize(("option", "said"), [
    ("NETFILTER_XTABLES_LEGACY", "6.12.1 is built without CONFIG_NETFILTER_XTABLES_LEGACY"),
    ("NETFILTER_BPF_LINK", "6.12.1 is built without CONFIG_NETFILTER_BPF_LINK, an option that its configuration does not know"),
    *((wrong, f"6.12.1 is built without CONFIG_{wrong}, an option that its configuration does not know; did you mean {right}?")
      for wrong, right in (("NETFILTER_EGRES", "NETFILTER_EGRESS"), ("NETFITLER_EGRESS", "NETFILTER_EGRESS"),
                           ("NF_TABLESS", "NF_TABLES"), ("NF_TABLEZ", "NF_TABLES"), ("nf_tables", "NF_TABLES"),
                           ("NETFILTER_XTABLES_LEGAC", "NETFILTER_XTABLES_LEGACY"))),
])
def test_a_skip_tells_an_option_that_is_not_set_from_one_that_there_is_not(kernel: RunningKernel, option: str, said: str) -> None:
    with pytest.raises(pytest.skip.Exception) as skipped:
        kernel.require(option)
    assert str(skipped.value) == said


@pytest.mark.parametrize(("option", "said"), [
    ("NETFILTER_XTABLES_LEGACY", "6.12.1 is built without CONFIG_NETFILTER_XTABLES_LEGACY"),
    ("CONFIG_NF_TABLESS", "6.12.1 is built without CONFIG_NF_TABLESS, an option that its configuration does not know; "
                          "did you mean NF_TABLES?"),
])
def test_an_option_that_is_not_set_is_told_and_not_only_named(kernel: RunningKernel, option: str, said: str) -> None:
    with pytest.raises(Mistake) as told:
        kernel.config[option]
    assert (told.value.message, "config.get(…)" in str(told.value.hint)) == (said, True)
    assert (kernel.config.get(option), kernel.config["NF_TABLES"], option in kernel.config) == (None, "m", False)
    with pytest.raises(KeyError):
        kernel.config[option]
