"""Tests that are bad on purpose, each in its own way; :mod:`tests.e2e.test_pytest_plugin` says what must be reported of each."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from harness.guest import netns
from harness.guest.module import Hook, HookModule
from harness.netfilter import Family, Verdict, VerdictKind
from harness.pytest_plugin import Dropped
from harness.pytest_plugin.lab import Lab

pytestmark = pytest.mark.kernel

HARM = Path(__file__).with_name("harm.ko")


def harm(how: str) -> None:
    subprocess.run(["insmod", str(HARM), f"how={how}"], check=False)


def test_good_first() -> None:
    pass


def test_fails() -> None:
    assert sum([1]) == 2


def test_warns() -> None:
    harm("warn")


def test_after_a_warning_there_is_a_new_kernel() -> None:
    assert "harm" not in Path("/proc/modules").read_text()


def test_warns_as_expected(lab: Lab) -> None:
    with lab.expect_splat("harm: warned as told"):
        harm("warn")
    subprocess.run(["rmmod", "harm"], check=True)


def test_does_not_warn_as_expected(lab: Lab) -> None:
    with lab.expect_splat("harm: warned as told"):
        pass


def test_warns_otherwise_than_expected(lab: Lab) -> None:
    with lab.expect_splat("something else"):
        harm("warn")


def test_oopses() -> None:
    harm("oops")


def test_panics() -> None:
    harm("panic")


@pytest.mark.deadline(1)
def test_hangs_in_the_kernel() -> None:
    harm("hang")


@pytest.mark.deadline(1)
def test_hangs_in_python() -> None:
    time.sleep(10**6)


def test_leaks_a_hook() -> None:
    harm("leak")


def test_leaks_a_hook_of_ours() -> None:
    with HookModule() as module:
        module.add_hook(Hook(99, Family.IPV4, 2, 5, Verdict(VerdictKind.ACCEPT)))


def test_leaks_a_namespace() -> None:
    netns.create("left-behind")


def test_leaks_a_process() -> None:
    subprocess.Popen(["sleep", "1000"])


def test_kills_its_worker() -> None:
    os.kill(os.getpid(), 9)


def test_kills_the_agent() -> None:
    Path("/proc/sysrq-trigger").write_text("c")


def test_fills_the_memory() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 12) * (1 << 12)))


def test_fills_the_disk() -> None:
    for number in range(10**6):
        Path(f"/root/{number}").write_bytes(bytes(32 << 20))


def test_forks_for_ever() -> None:
    while True:
        if os.fork() == 0:
            time.sleep(10**6)


def test_writes_gigabytes() -> None:
    block = b"x" * (1 << 20)
    for _ in range(4096):
        os.write(1, block)


def test_takes_a_device_name_and_keeps_it() -> None:
    subprocess.run(["ip", "link", "add", "mine", "type", "dummy"], check=True)


def test_takes_the_same_device_name() -> None:
    subprocess.run(["ip", "link", "add", "mine", "type", "dummy"], check=True)
    subprocess.run(["ip", "link", "delete", "mine"], check=True)


def test_signals_the_agent() -> None:
    os.kill(1, 9)  # which the kernel keeps from process 1


def test_kills_all_that_it_may() -> None:
    os.kill(-1, 9)


def test_wrecks_the_agent() -> None:
    stack = next(line for line in Path("/proc/1/maps").read_text().splitlines() if line.endswith("[stack]"))
    first, last = (int(address, 16) for address in stack.split()[0].split("-"))
    with Path("/proc/1/mem").open("r+b", buffering=0) as memory:
        memory.seek(first)
        memory.write(bytes(last - first))
    time.sleep(10**6)


def test_switches_the_machine_off() -> None:
    subprocess.run(["busybox", "poweroff", "-f"], check=True)
    time.sleep(10**6)


def test_restarts_the_machine() -> None:
    subprocess.run(["busybox", "reboot", "-f"], check=True)
    time.sleep(10**6)


def test_uses_what_is_the_hosts(vm: object) -> None:
    pass


def test_is_wrong_about_a_walk(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT", name="gate")
    assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Dropped()


def test_two_of_one_name(lab: Lab) -> None:
    host = lab.namespace("one")
    with host.routes() as routes:
        for _ in range(2):
            routes.link("add", ifname="dummy0", kind="dummy")


def test_lacks_a_feature(lab: Lab) -> None:
    lab.kernel.require("NO_SUCH_OPTION")


@pytest.mark.known_bug("0123456789ab")
def test_meets_a_known_bug() -> None:
    raise AssertionError("the bug")


def test_good_last() -> None:
    pass
