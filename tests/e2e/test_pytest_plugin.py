"""The plugin on bad tests: each costs itself, what is reported is what it did, and nothing is left on the host."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import building
from harness.images import kernels
from harness.images.layers import layer, layer_path
from harness.images.userland import in_chroot, userland
from tests.channels import OPTIONS, contradictions, summary

HERE = Path(__file__).parent
KERNEL = kernels.DEFAULT

#: Test → what must be reported of it, and words of the message.
EXPECTED = {
    "test_good_first": ("passed", ""),
    "test_fails": ("failed", "assert 1 == 2"),
    "test_warns": ("failed", "harm: warned as told"),
    "test_after_a_warning_there_is_a_new_kernel": ("passed", ""),
    "test_warns_as_expected": ("passed", ""),
    "test_does_not_warn_as_expected": ("failed", "did not warn of 'harm: warned as told'"),
    "test_warns_otherwise_than_expected": ("failed", "did not warn of 'something else'"),
    "test_oopses": ("lost", "BUG: kernel NULL pointer dereference"),
    "test_panics": ("lost", "Kernel panic - not syncing: harm: panicked as told"),
    "test_hangs_in_the_kernel": ("lost", "hung"),
    "test_hangs_in_python": ("lost", "hung"),
    "test_leaks_a_hook": ("error", "modules are left behind: harm"),
    "test_leaks_a_hook_of_ours": ("error", "a hook is left behind in namespace init: nfharness_hook at IPV4 FORWARD, priority 5"),
    "test_leaks_a_namespace": ("error", "network namespaces are left behind: left-behind"),
    "test_leaks_a_process": ("error", "a process is left behind: sleep"),
    "test_kills_its_worker": ("lost", "the worker in the guest ended (signal 9)"),
    "test_kills_the_agent": ("lost", "the guest died"),
    "test_fills_the_memory": ("lost", "out of memory"),
    "test_fills_the_disk": ("failed", "No space left on device"),
    "test_forks_for_ever": ("failed", "Resource temporarily unavailable"),
    "test_writes_gigabytes": ("failed", "File too large"),
    "test_takes_a_device_name_and_keeps_it": ("error", "a device is left behind in namespace init: mine"),
    "test_takes_the_same_device_name": ("passed", ""),
    "test_signals_the_agent": ("passed", ""),
    "test_raises_keyboard_interrupt": ("failed", "KeyboardInterrupt: by hand"),
    "test_interrupts_itself": ("failed", "KeyboardInterrupt"),
    "test_is_interrupted_at_its_end": ("error", "KeyboardInterrupt"),
    "test_exits_python": ("failed", "SystemExit: 3"),
    "test_leaves_without_a_word": ("lost", "the worker in the guest ended (exit status 0)"),
    "test_forks_and_both_come_back": ("passed", ""),
    "test_fails_in_a_child": ("failed", "in the parent"),
    "test_says_what_is_no_text": ("failed", r"assert '\udcff' == '1'"),
    "test_records_what_cannot_be_sent": ("passed", ""),
    "test_compares_what_cannot_be_shown": ("failed", "KeyboardInterrupt while its report was made"),
    "test_removes_our_module": ("error", "the module nfharness is gone"),
    "test_unmounts_what_others_need": ("error", "the mount of tracefs at /sys/kernel/tracing is gone"),
    "test_mounts_over_what_others_need": ("error", "a mount is left behind: tmpfs at /usr/share"),
    "test_removes_the_tracers_probes": ("error", "the probe p:nfharness_1/"),
    "test_switches_kprobes_off": ("error", "the setting /sys/kernel/debug/kprobes/enabled is 0, and was 1"),
    "test_deletes_the_tests": ("error", "/run/nfharness/tests/test_bad.py is gone"),
    "test_leaves_its_namespace": ("error", "net namespace is net:"),
    "test_changes_lo": ("error", "the device lo (its flags) is 0x9, and was 0x8"),
    "test_leaves_a_rule": ("error", "an IPv4 rule is left behind in namespace init: 5: from all prohibit"),
    "test_leaves_a_table": ("error", "a table of nftables is left behind in namespace init: ip left"),
    "test_leaves_an_xfrm_policy": ("error", "an XFRM policy is left behind in namespace init: from 10.0.0.0/8 to 10.1.0.0/16 out, block"),
    "test_leaves_a_neighbour": ("error", "a permanent neighbour is left behind in namespace init: "),
    "test_leaves_an_address": ("error", "an address is left behind in namespace init: 192.0.2.9/32 of lo"),
    "test_leaves_a_queueing_discipline": ("error", "a queueing discipline is left behind in namespace init: netem "),
    "test_leaves_a_route": ("error", "an IPv4 route is left behind in namespace init: blackhole 10.9.0.0/16, table 254"),
    "test_removes_a_rule": ("error", "the IPv4 rule 32767: from all lookup 253 is gone"),
    "test_empties_the_path": ("error", "the environment variable PATH is '/nowhere' now, and was "),
    "test_forbids_files": ("error", "the umask is '0777' now, and was "),
    "test_goes_to_another_directory": ("error", "the working directory is '/' now, and was "),
    "test_handles_a_signal": ("error", "the handling of SIGUSR1 is 'test_handles_a_signal.<locals>.<lambda>' now, and was 'default'"),
    "test_lets_broken_pipes_end_it": ("error", "the handling of SIGPIPE is 'default' now, and was 'ignored'"),
    "test_blocks_a_signal": ("error", "the mask of blocked signals is '0000000000000200' now, and was '0000000000000000'"),
    "test_sets_an_alarm": ("error", "the timer ITIMER_REAL is 'running' now, and was 'off'"),
    "test_lowers_a_limit_while_it_runs": ("passed", ""),
    "test_lowers_a_limit": ("error", "the limit RLIMIT_NOFILE is '100, at most 100' now, and was "),
    "test_joins_a_group": ("error", "the list of groups is '7' now, and was "),
    "test_changes_its_group": ("error", "the worker's group is '0 7 0 7' now, and was '0 0 0 0'"),
    "test_becomes_a_user": ("error", "the worker's user is (0, 7, 0), and was (0, 0, 0)"),
    "test_is_nice": ("error", "the nice value is '5' now, and was '0'"),
    "test_changes_its_policy": ("error", "the scheduling policy is '3, priority 0' now, and was '0, priority 0'"),
    "test_sets_the_clock": ("error", "the clock was set, 86,400 s back"),
    "test_renames_the_host": ("error", "the host name is 'other' now, and was "),
    "test_limits_recursion": ("error", "Python's recursion limit is '900' now, and was '1000'"),
    "test_does_what_it_likes_where_no_other_test_runs": ("passed", ""),
    "test_closes_standard_output": ("failed", "the test closed sys.stdout"),
    "test_prints_where_another_has_closed_standard_output": ("passed", ""),
    "test_closes_standard_error_and_fails": ("failed", "closed it"),
    "test_closes_what_python_began_with": ("failed", "the test closed sys.__stdout__"),
    "test_leaves_a_cgroup": ("error", "a cgroup is left behind: /sys/fs/cgroup/mine"),
    "test_shortens_the_mtu_of_lo": ("error", "the device lo (its MTU) is 500, and was 65536"),
    "test_shortens_the_life_of_packets": ("error", "the setting /proc/sys/net/ipv4/ip_default_ttl is 3, and was 64"),
    "test_packets_live_as_long_as_ever": ("passed", ""),
    "test_shortens_their_life_through_a_child": ("error", "the setting /proc/sys/net/ipv4/ip_default_ttl is 3, and was 64"),
    "test_puts_their_life_back": ("passed", ""),
    "test_needs_another_setting": ("passed", ""),
    "test_tidies_up": ("passed", ""),
    "test_needs_all_of_that": ("passed", ""),
    "test_kills_all_that_it_may": ("passed", ""),
    "test_wrecks_the_agent": ("lost", "Attempted to kill init"),
    "test_switches_the_machine_off": ("lost", "the guest died: it was switched off, or restarted"),
    "test_restarts_the_machine": ("lost", "the guest died: it was switched off, or restarted"),
    "test_uses_what_is_the_hosts": ("error", "vm is for tests of the host"),
    "test_is_wrong_about_a_walk": ("failed", 'assert Delivered() == Dropped("EPERM")'),
    "test_is_wrong_about_traced_walks": ("failed", "in the block"),
    "test_misspells_a_hook_point": ("failed", 'there is no hook point of ipv4 "FORWAD"; did you mean "FORWARD"? there are: FORWARD, INPUT'),
    "test_runs_a_command_that_fails": ("failed", "ended with exit status 3 in host"),
    "test_two_of_one_name": ("failed", "File exists"),
    "test_lacks_a_feature": ("skipped", "is built without CONFIG_NO_SUCH_OPTION"),
    "test_meets_a_known_bug": ("xfailed", "0123456789ab"),
    "test_good_last": ("passed", ""),
}


@pytest.fixture(scope="module")
def harm_ko(ready: None) -> Path:
    """A module that does harm, for the default kernel."""
    progress = Progress(quiet=True)
    root = userland(progress)
    made = layer(kernels.resolve(KERNEL, at_hand=lambda kernel: layer_path(kernel).is_dir()), root, progress)
    sources = [HERE / "harm" / name for name in ("harm.c", "Kbuild")]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    path = cache_dir() / "modules" / f"harm_{made.path.name}_{digest[:12]}"
    with building(path) as new:
        if new:
            place = new / "upper/build/harm"
            place.mkdir(parents=True)
            for source in sources:
                shutil.copy(source, place)
            script = (f"cd /build/harm; make -C /usr/lib/modules/{made.kernel.release}/build M=$PWD CC=x86_64-linux-gnu-gcc-14 "
                      "CONFIG_DEBUG_INFO_BTF_MODULES= modules; strip --strip-debug harm.ko")
            in_chroot(root / "root", new / "upper", script, new / "build.log", what="building harm.ko", above=made.root)
            shutil.copy(place / "harm.ko", new)
    return path / "harm.ko"


def run(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    # As in CI, where pytest's short summary has all that a report gives it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NFHARNESS_IN"))} | {"CI": "true"}
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900, check=False, env=environment, **options)


def marked(directory: Path) -> dict[int, str]:
    """The processes, by number, of a run that was started with NFHARNESS_MARK naming *directory*."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"NFHARNESS_MARK={directory}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def suite(harm_ko: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bad suite, run once with two workers and every report."""
    directory = tmp_path_factory.mktemp("suite")
    (directory / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(HERE / "bad_tests.py", directory / "test_bad.py")
    (directory / "test_host.py").write_text("def test_on_the_host() -> None:\n    pass\n")
    shutil.copy(harm_ko, directory)
    done = run(directory, "--kernel", KERNEL, "-n", "2", *OPTIONS)
    (directory / "stdout").write_text(done.stdout + done.stderr)
    assert done.returncode == 1, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="module")
def results(suite: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (suite / "out.jsonl").read_text().splitlines()]
    return {line["test"].partition("::")[2].partition("[")[0]: line for line in lines if "test" in line}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_test_is_reported_as_what_it_is(results: dict[str, dict[str, Any]], name: str) -> None:
    outcome, words = EXPECTED[name]
    assert results[name]["outcome"] == outcome, results[name]["detail"]
    assert words.lower() in results[name]["message"].lower()


def test_every_test_is_reported_once(results: dict[str, dict[str, Any]]) -> None:
    assert set(results) == {*EXPECTED, "test_on_the_host"}
    assert results["test_on_the_host"]["kernel"] == "host"


def test_every_channel_tells_the_same_story(suite: Path) -> None:
    assert contradictions(suite, 1, summary((suite / "stdout").read_text())) == []


def test_a_guest_that_died_shows_its_console(results: dict[str, dict[str, Any]]) -> None:
    assert "Call Trace" in results["test_panics"]["detail"]
    assert "harm_init" in results["test_oopses"]["detail"]


def test_a_test_that_hangs_shows_where(results: dict[str, dict[str, Any]]) -> None:
    hung = results["test_hangs_in_python"]
    assert "in test_hangs_in_python" in dict(hung["sections"])["Guest's standard error"]
    assert "sysrq: Show Blocked State" in hung["detail"]


def test_ktap_is_nested_by_kernel_and_module(suite: Path) -> None:
    lines = (suite / "out.ktap").read_text().splitlines()
    assert lines[0] == "KTAP version 1"
    assert f"  # Subtest: {KERNEL}" in lines
    assert "    # Subtest: test_bad.py" in lines
    assert any(line.startswith("    ok ") and "# XFAIL" in line and "0123456789ab" in line for line in lines)
    counted = {outcome: [expected for expected, _ in EXPECTED.values()].count(outcome) for outcome in ("passed", "failed", "xfailed")}
    error = sum(outcome in ("error", "lost") for outcome, _ in EXPECTED.values())
    assert lines[-1] == (f"# Totals: pass:{counted['passed'] + 1} fail:{counted['failed']} xfail:{counted['xfailed']} xpass:0 skip:1 "
                         f"error:{error}")


def test_junit_has_a_suite_for_each_kernel(suite: Path) -> None:
    suites = {one.get("name"): one for one in ElementTree.parse(suite / "out.xml").getroot()}  # noqa: S314 - our own
    assert set(suites) == {KERNEL, "host"}
    names = {kernel: {case.get("name", "").partition("[")[0] for case in one.findall("testcase")} for kernel, one in suites.items()}
    assert names == {KERNEL: set(EXPECTED), "host": {"test_on_the_host"}}


def test_a_failure_shows_the_walks_of_a_traced_block_too(results: dict[str, dict[str, Any]]) -> None:
    assert "doorman" in dict(results["test_is_wrong_about_traced_walks"]["sections"])["Walks"]


def test_a_mistake_is_told_at_the_tests_own_line(results: dict[str, dict[str, Any]]) -> None:
    assert "lab.py" not in results["test_misspells_a_hook_point"]["detail"]


def test_a_failure_tells_of_a_stream_that_the_test_closed(results: dict[str, dict[str, Any]]) -> None:
    closed = results["test_closes_standard_error_and_fails"]
    assert dict(closed["sections"])["Kernel"] == "the test closed sys.stderr"
    assert "during handling" not in closed["detail"].lower()


def test_a_failure_shows_what_failed_in_a_forked_process(results: dict[str, dict[str, Any]]) -> None:
    said = dict(results["test_fails_in_a_child"]["sections"])["Captured stderr call"]
    assert said.startswith("said before the fork\nin the forked process ")
    assert "AssertionError: in the child\n" in said


def test_a_command_that_fails_shows_what_it_said(results: dict[str, dict[str, Any]]) -> None:
    said = re.sub(r"\nE? +", " ", results["test_runs_a_command_that_fails"]["detail"])
    assert "exit status 3 in host stdout: told stderr: why" in said


def test_a_panic_is_printed_once(suite: Path) -> None:
    lines = (suite / "stdout").read_text().splitlines()
    told = [line for line in lines if line.endswith("] Kernel panic - not syncing: harm: panicked as told")]
    assert len(told) == 1, told


def test_the_page_shows_consoles_and_walks(suite: Path) -> None:
    page = (suite / "out.html").read_text()
    assert "harm: panicked as told" in page
    assert "gate nfharness_hook" in page


def test_a_kernel_test_without_a_kernel_fails_and_says_how_to_name_one(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text("import pytest\n\n@pytest.mark.kernel\ndef test_a(): pass\n\ndef test_b(lab): pass\n")
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("none is named: pytest --kernel 6.12") >= 2


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_an_unknown_kernel_is_the_users_mistake(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text("def test_a(lab): pass\ndef test_b(lab): pass\n")
    done = run(tmp_path, "--kernel", "9.99", *arguments)
    said = done.stdout + done.stderr
    assert said.count("no kernel '9.99' in Debian's suites") == 1
    assert "hint:" in said
    assert done.returncode == 4


def test_a_skip_fails_where_skips_are_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text("import pytest\n\n@pytest.mark.kernel\ndef test_a():\n    pytest.skip('no')\n")
    done = run(tmp_path, "--kernel", KERNEL, "--strict-skip")
    assert (done.returncode, "--strict-skip does not allow" in done.stdout) == (1, True)


SPOILING = """
import subprocess

import pytest

pytestmark = pytest.mark.kernel

@pytest.fixture(scope="module")
def wide():
    yield
    raise RuntimeError("in the module's teardown")

@pytest.fixture(scope="session")
def widest():
    yield
    assert not "in the session's teardown"

def test_uses(wide, widest): pass
def test_leaves(): subprocess.Popen(["sleep", "1000"])
def test_next(): pass
"""


def test_wider_fixtures_are_torn_down_before_a_guest_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(SPOILING)
    done = run(tmp_path, "--kernel", KERNEL, "-n", "1", "--report-jsonl", "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = {line["test"].partition("::")[2].partition("[")[0]: line for line in lines if "test" in line}
    assert {name: line["outcome"] for name, line in found.items()} == {"test_uses": "passed", "test_leaves": "error", "test_next": "passed"}
    told = [line for line in found["test_leaves"]["detail"].splitlines() if "the teardown of a wider fixture failed" in line]
    assert sorted(told) == [
        """the teardown of a wider fixture failed: AssertionError: assert not "in the session's teardown\"""",
        "the teardown of a wider fixture failed: RuntimeError: in the module's teardown"], done.stdout


def test_a_killed_run_leaves_no_guest(tmp_path: Path, eventually: Callable[..., None]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text("import pytest, time\n\n@pytest.mark.kernel\ndef test_a():\n    time.sleep(1000)\n")
    command = [sys.executable, "-m", "pytest", "--kernel", KERNEL, "-n", "1"]
    running = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "NFHARNESS_MARK": str(tmp_path)}, stdout=subprocess.DEVNULL)

    eventually(lambda: any("qemu" in name for name in marked(tmp_path).values()), "a guest")
    running.send_signal(signal.SIGKILL)
    running.wait()
    eventually(lambda: not marked(tmp_path), "the end of all of it")
