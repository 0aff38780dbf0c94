"""What a machine that was there before the run refuses: options that want a fresh guest, and tests on a kernel that is spoilt."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.backends.names import Reached, backend_name, reached
from harness.pytest_plugin.host.gateway import Lost
from harness.pytest_plugin.host.machines import LastingMachine, Refused, check_options
from harness.pytest_plugin.selection import kernels

DEFAULTS = {"kernels": [], "bare": False, "isolation": "worker", "flaky": 0, "tx": None}


def config(backend: str, packages: tuple[str, ...] = (), **given: Any) -> pytest.Config:
    options = {**DEFAULTS, "backend": backend, **given}
    manager = SimpleNamespace(getplugin=lambda _name: SimpleNamespace(global_and_fixture_disabled=nullcontext))
    return cast(pytest.Config, SimpleNamespace(option=SimpleNamespace(**options), getoption=options.get, pluginmanager=manager,
                                               getini=lambda name: packages if name == "packages" else ["6.12"]))


@pytest.mark.parametrize("backend", ["local", "ssh=box"])
@pytest.mark.parametrize(("given", "what"), [
    ({"kernels": ["6.1"]}, "--kernel chooses a kernel"), ({"bare": True}, "--bare and"), ({"isolation": "test"}, "--isolation test and"),
    ({"flaky": 2}, "--flaky and"), ({"packages": ("jq",)}, "the setting packages and"), ({"tx": ["2*popen"]}, "--tx and"),
    ({"tx": ["popen", "popen"]}, "--tx and"),
])  # fmt: skip
def test_what_only_fresh_guests_can_do_is_refused_with_a_hint(backend: str, given: dict[str, Any], what: str) -> None:
    with pytest.raises(pytest.UsageError) as caught:
        check_options(config(backend, **given))
    message, hint = str(caught.value).split("\n")
    assert message.startswith(what)
    assert f"--backend {backend}" in message
    assert hint.startswith("  hint: ")


def test_vagrants_machines_are_made_fresh_but_get_no_packages() -> None:
    check_options(config("vagrant", kernels=["6.1"], isolation="test", flaky=2))
    with pytest.raises(pytest.UsageError, match=r"hint: apt-get install jq there"):
        check_options(config("vagrant", packages=("jq",)))


def test_guests_are_refused_nothing_and_one_worker_is_none_too_many() -> None:
    check_options(config("qemu", packages=("jq",), kernels=["6.1"], bare=True, isolation="test", flaky=2, tx=["2*popen"]))
    check_options(config("local", tx=["1*popen"]))


@pytest.mark.parametrize(("text", "there"), [
    ("ssh=box", Reached("box", "python3")), ("ssh=root@10.0.0.2", Reached("root@10.0.0.2", "python3")),
    ("ssh=box:/opt/venv/bin/python", Reached("box", "/opt/venv/bin/python")), ("ssh=fe80::1:/p", Reached("fe80::1", "/p")), ("local", None),
])  # fmt: skip
def test_a_machine_has_a_name_and_perhaps_a_python(text: str, there: Reached | None) -> None:
    assert reached(backend_name(text)) == there


@pytest.mark.parametrize("text", ["", "ssh", "ssh=", "ssh=-oProxyCommand=x", "ssh=box:python3 -x", "ssh=box:/opt//python", "kvm"])
def test_what_names_no_backend_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not one of qemu, vagrant, local or ssh=HOST"):
        backend_name(text)


def test_the_settings_kernels_are_not_those_of_a_machine() -> None:
    assert kernels(config("qemu")) == ["6.12"]
    assert kernels(config("local", kernels=["6.18.44"])) == ["6.18.44"]
    assert kernels(config("ssh=box")) != ["6.12"]


def test_a_spoilt_kernel_admits_no_test_and_says_what_spoilt_it_first() -> None:
    machine = LastingMachine(config("ssh=box"))
    machine.admit("worker")
    machine.spoil("6.12", "the kernel warned: WARNING (test_a.py::test_one)")
    machine.spoil("6.12", "it hung (test_a.py::test_two)")
    with pytest.raises(Refused) as caught:
        machine.admit("worker")
    assert caught.value.message == "the kernel of box is spoilt: the kernel warned: WARNING (test_a.py::test_one)"
    assert caught.value.hint == "boot it anew, then run what is left: pytest --lf"


@pytest.mark.parametrize("isolation", ["module", "test"])
def test_a_test_that_wants_a_fresh_kernel_is_refused_alone(isolation: Any) -> None:
    machine = LastingMachine(config("local"))
    with pytest.raises(Refused, match=rf"isolation\('{isolation}'\) wants a fresh kernel, and this machine's kernel cannot be made anew"):
        machine.admit(isolation)
    machine.admit("worker")


def test_what_a_machine_lacks_is_told_with_its_hint_and_again_for_each_test() -> None:
    machine = LastingMachine(config("local"))
    said = "nfharness: error: the agent's Python has no bcc\n  hint: apt-get install python3-bpfcc"
    with pytest.raises(Refused) as first, machine.fit("6.12", fresh=False):
        raise Lost("the agent's Python has no bcc", None, said)
    with pytest.raises(Refused) as second:
        machine.admit("worker")
    assert first.value is second.value
    assert first.value.message == "the agent's Python has no bcc"
    assert first.value.hint == "apt-get install python3-bpfcc; nfharness doctor --backend local names all that is missing"
