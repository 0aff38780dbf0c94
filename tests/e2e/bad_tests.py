"""Tests that are bad on purpose, each in its own way; :mod:`tests.e2e.test_pytest_plugin` says what must be reported of each."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from harness.guest import netns
from harness.guest.module import Hook, HookModule
from harness.netfilter import Family, Verdict, VerdictKind
from harness.pytest_plugin import Delivered, Dropped
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


def test_raises_keyboard_interrupt() -> None:
    raise KeyboardInterrupt("by hand")


def test_interrupts_itself() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


@pytest.fixture
def interrupted_at_the_end() -> Iterator[None]:
    yield
    raise KeyboardInterrupt


def test_is_interrupted_at_its_end(interrupted_at_the_end: None) -> None:
    pass


def test_exits_python() -> None:
    sys.exit(3)


def test_leaves_without_a_word() -> None:
    os._exit(0)


def test_forks_and_both_come_back() -> None:
    if os.fork():
        os.wait()


def test_fails_in_a_child() -> None:
    print("said before the fork", file=sys.stderr)
    if not os.fork():
        raise AssertionError("in the child")
    os.wait()
    raise AssertionError("in the parent")


def test_says_what_is_no_text() -> None:
    said = "\udcff"
    warnings.warn(said, stacklevel=1)
    assert said == str(1)


def test_records_what_cannot_be_sent(record_property: Callable[[str, object], None]) -> None:
    record_property("anything", {object(): {10**5000}})


class Unshown:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


def test_compares_what_cannot_be_shown() -> None:
    unshown: object = Unshown()
    assert unshown == 1


def test_removes_our_module() -> None:
    subprocess.run(["rmmod", "nfharness"], check=True)


def test_unmounts_what_others_need() -> None:
    subprocess.run(["umount", "--lazy", "/sys/kernel/tracing"], check=True)


def test_mounts_over_what_others_need() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "over", "/usr/share"], check=True)


def test_removes_the_tracers_probes() -> None:
    Path("/sys/kernel/tracing/kprobe_events").write_text("")


def test_switches_kprobes_off() -> None:
    Path("/sys/kernel/debug/kprobes/enabled").write_text("0")


def test_deletes_the_tests() -> None:
    Path(__file__).unlink()


def test_leaves_its_namespace() -> None:
    ctypes.CDLL(None).unshare(0x40000000)


def test_changes_lo() -> None:
    subprocess.run(["ip", "address", "add", "127.0.0.9/8", "dev", "lo"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def test_leaves_a_rule() -> None:
    ip("rule add prio 5 from all prohibit")


def test_leaves_an_xfrm_policy() -> None:
    ip("xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out action block")


def test_leaves_a_table() -> None:
    subprocess.run(["nft", "add table ip left; add set ip left s { type ipv4_addr; }"], check=True)


def test_leaves_a_neighbour() -> None:
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud permanent dev lo")


def test_leaves_an_address() -> None:
    ip("address add 192.0.2.9/32 dev lo")


def test_leaves_a_queueing_discipline() -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], check=True)


def test_leaves_a_route() -> None:
    ip("route add blackhole 10.9.0.0/16")


def test_removes_a_rule() -> None:
    ip("rule del prio 32767")


def test_leaves_a_cgroup() -> None:
    Path("/sys/fs/cgroup/mine").mkdir()


def test_empties_the_path() -> None:
    os.environ["PATH"] = "/nowhere"


def test_forbids_files() -> None:
    os.umask(0o777)


def test_goes_to_another_directory() -> None:
    os.chdir("/")


def test_handles_a_signal() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: None)


def test_lets_broken_pipes_end_it() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def test_blocks_a_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def test_sets_an_alarm() -> None:
    signal.alarm(1000)


def test_lowers_a_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


@pytest.fixture
def few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files")
def test_lowers_a_limit_while_it_runs() -> None:
    pass


def test_joins_a_group() -> None:
    os.setgroups([7])


def test_changes_its_group() -> None:
    os.setegid(7)


def test_becomes_a_user() -> None:
    os.seteuid(7)


def test_is_nice() -> None:
    os.nice(5)


def test_changes_its_policy() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def test_renames_the_host() -> None:
    socket.sethostname("other")


def test_sets_the_clock() -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() - 86_400)


def test_limits_recursion() -> None:
    sys.setrecursionlimit(900)


@pytest.mark.isolation("test")
def test_does_what_it_likes_where_no_other_test_runs() -> None:
    signal.alarm(1000)


def test_closes_standard_output() -> None:
    print("said before")
    sys.stdout.close()


def test_prints_where_another_has_closed_standard_output() -> None:
    print("said")


@pytest.fixture
def said_at_the_end() -> Iterator[None]:
    yield
    print("said at the end", file=sys.stderr)


@pytest.mark.usefixtures("said_at_the_end")
def test_closes_standard_error_and_fails() -> None:
    sys.stderr.close()
    raise AssertionError("closed it")


def test_closes_what_python_began_with() -> None:
    assert sys.__stdout__
    sys.__stdout__.close()


def test_shortens_the_mtu_of_lo() -> None:
    ip("link set lo mtu 500")


TTL = Path("/proc/sys/net/ipv4/ip_default_ttl")


def test_shortens_the_life_of_packets() -> None:
    TTL.write_text("3")


def test_packets_live_as_long_as_ever() -> None:
    assert TTL.read_text() == "64\n"


def test_shortens_their_life_through_a_child() -> None:
    subprocess.run(["sysctl", "-w", "net.ipv4.ip_default_ttl=3"], check=True)


def test_puts_their_life_back() -> None:
    TTL.write_text("3")
    TTL.write_text("64")


@pytest.fixture(scope="module")
def _for_the_module() -> Iterator[None]:
    """A setting that the module's tests run with."""
    setting = Path("/proc/sys/net/ipv4/tcp_fin_timeout")
    setting.write_text("61")
    yield
    setting.write_text("60")


@pytest.mark.usefixtures("_for_the_module")
def test_needs_another_setting() -> None:
    pass


def test_tidies_up() -> None:
    ip("link set lo up")
    ip("address add 192.0.2.9/32 dev lo")
    ip("route add 10.9.0.0/16 dev lo")
    subprocess.run(["ping", "-c1", "-W1", "192.0.2.9"], check=True, stdout=subprocess.DEVNULL)
    ip("route del 10.9.0.0/16")
    ip("address del 192.0.2.9/32 dev lo")
    ip("address del 127.0.0.1/8 dev lo")
    ip("link set lo down")
    ip("link add one type veth peer name two")
    ip("link set one up")
    ip("address add 10.8.0.1/24 dev one")
    ip("link del one")


def test_needs_all_of_that(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT")
    assert lab.send(net.peer, IP(dst=net.host.address) / UDP(dport=9)).fate == Delivered()


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


def test_is_wrong_about_traced_walks(lab: Lab) -> None:
    net = lab.pair()
    lab.hook(net.host, "ipv4", "INPUT", name="doorman")
    with lab.trace():
        net.peer.run("ping", "-c1", "-W1", net.host.address)
        raise AssertionError("in the block")


def test_misspells_a_hook_point(lab: Lab) -> None:
    lab.hook(lab.pair().host, "ipv4", "FORWAD")


def test_runs_a_command_that_fails(lab: Lab) -> None:
    lab.pair().host.run("sh", "-c", "echo told; echo why >&2; exit 3")


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
