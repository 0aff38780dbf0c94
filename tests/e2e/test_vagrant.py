"""A Vagrant machine from its birth to its end, with real libvirt, and the commands that reach it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.doctor.vagrant import examine_vagrant
from tests.e2e.conftest import CHECKOUT, CommandLine
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.slow

DOZEN = ("order.ascending", "order.equal-newest-first", "order.stable", "order.foreign", "drop.errno", "drop.eperm", "drop.frees",
         "stolen.keeps", "stolen.errno", "netdev.ingress", "raw.insert", "queue.no-handler")
_DEADLINE_S = 600


class Place(CommandLine):
    """Where libvirt runs.

    :param pid: its first process
    :param images: its pool of volumes
    :param env: Vagrant's files beside no user's own
    """

    def __init__(self, pid: int, images: Path, env: dict[str, str]) -> None:
        super().__init__(env)
        self.pid = pid
        self.images = images

    def inside(self, directory: Path = CHECKOUT) -> tuple[str, ...]:
        """What comes before a command that is to run there."""
        return ("nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", f"--wd={directory}", "--")

    def start(self, *arguments: str | bytes, before: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start the command line there."""
        return super().start(*arguments, before=(*self.inside(), *before), **options)

    def run(self, *argv: str, status: int = 0, directory: Path = CHECKOUT) -> str:
        """Run a command to its end; what it says on standard output."""
        done = subprocess.run([*self.inside(directory), *argv], env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
        assert done.returncode == status, f"{argv} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def vagrant(self, *argv: str) -> str:
        return self.run("vagrant", *argv, directory=CHECKOUT / "vagrant")

    def up(self) -> subprocess.Popen[bytes]:
        """Begin to start a machine."""
        command = [*self.inside(CHECKOUT / "vagrant"), "vagrant", "up", "--provider=libvirt"]
        return subprocess.Popen(command, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip

    def there(self, script: str) -> list[str]:
        """Words that a script says on the machine."""
        return self.vagrant("ssh", "-c", script).split()

    def nfharness(self, *argv: str, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "harness", *argv, status=status)

    def names(self, *what: str) -> list[str]:
        """What libvirt lists."""
        return self.run("virsh", *what, "--name").split()


def needs_vagrant() -> None:
    if not shutil.which("vagrant"):
        pytest.skip("vagrant is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    needs_vagrant()
    lacking = [f"{one.name}: {one.found}" for one in examine_vagrant("libvirt") if one.state == "missing" and one.name != "libvirtd"]
    if os.geteuid() != 0 or lacking or not shutil.which("libvirtd"):
        pytest.skip("; ".join(lacking) or ("libvirtd is not installed" if os.geteuid() == 0 else "a private libvirt needs root"))
    # The box comes from the network as far as it is not there; where libvirt runs there is none.
    subprocess.run([sys.executable, "-m", "harness", "vagrant", "box"], cwd=CHECKOUT, check=True, capture_output=True, timeout=_DEADLINE_S)
    own = tmp_path_factory.mktemp("vagrant")
    unshared = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    command = [*unshared, sys.executable, str(Path(__file__).with_name("libvirt_place.py")), str(own / "libvirt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stderr is not None
            if outer.stdout.readline() != "ready\n":
                pytest.skip(f"libvirt does not start here: {outer.stderr.read()[-300:]}")
            first = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
            environment = {"VAGRANT_HOME": str(own / "home"), "VAGRANT_DOTFILE_PATH": str(own / "dot"), "VAGRANT_CHECKPOINT_DISABLE": "1",
                           "VAGRANT_NO_COLOR": "1", "NFHARNESS_STATE": str(own / "state")}
            yield Place(first, own / "libvirt/lib/images", environment)
        finally:
            outer.send_signal(signal.SIGKILL)


def test_the_vagrantfile_is_valid(tmp_path: Path) -> None:
    needs_vagrant()
    environment = {**os.environ, "VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    (provider,) = (one for one in examine_vagrant("libvirt") if one.name == "Vagrant's provider")
    less = [] if provider.state == "ok" else ["--ignore-provider"]
    done = subprocess.run(["vagrant", "validate", *less], cwd=CHECKOUT / "vagrant", env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "validated successfully" in done.stdout


@pytest.fixture
def machine(place: Place) -> Place:
    """The machine of the default kernel is up."""
    if not place.names("list"):
        place.vagrant("up", "--provider=libvirt")
    return place


def test_without_a_machine_that_is_up_the_mend_is_to_start_it(place: Place) -> None:
    result = place("exec", "--backend", "vagrant", "--", "true")
    assert result.status == 125
    assert "the Vagrant machine of kernel 6.12 is not up" in result.err
    assert "NFHARNESS_KERNEL=6.12 vagrant up" in result.err


def test_ctrl_c_takes_away_the_machine_that_boots(place: Place, eventually: Callable[..., None]) -> None:
    up = place.up()
    eventually(lambda: place.names("list"), "the machine boots", by=up)
    os.killpg(up.pid, signal.SIGINT)
    said, _ = up.communicate(timeout=_DEADLINE_S)
    assert b"Vagrant exited after cleanup due to external interrupt." in said
    assert place.names("list", "--all") == place.names("net-list", "--all") == []


@pytest.mark.long
def test_a_box_that_was_uploaded_in_part_is_not_booted(place: Place, eventually: Callable[..., None]) -> None:
    up = place.up()
    eventually(lambda: any(volume.stat().st_size for volume in place.images.glob("*_box.img")), "the box is being uploaded", by=up)
    os.killpg(up.pid, signal.SIGKILL)
    up.communicate(timeout=_DEADLINE_S)
    (part,) = place.images.glob("*_box.img")
    os.truncate(part, 1 << 20)
    place.vagrant("up", "--provider=libvirt")
    assert "nfharness" in place.there("cat /proc/modules")


@pytest.mark.long
def test_a_dozen_rules_are_checked_in_the_machine(machine: Place) -> None:
    report = json.loads(machine.vagrant("ssh", "-c", f"nfharness check --json {' '.join(DOZEN)}"))
    assert [(one["rule"], one["state"]) for one in report["results"]] == [(rule, "conformant") for rule in sorted(DOZEN, key=_order)]
    assert report["kernels"][0]["backend"] == "local"


def test_the_tree_is_there_and_the_key_that_everybody_has_is_not(machine: Place) -> None:
    assert {path.name for path in (CHECKOUT / "kmod").glob("*.c")} <= set(machine.there("ls /vagrant/kmod"))
    (identity,) = {line.split()[1] for line in machine.vagrant("ssh-config").splitlines() if line.split()[:1] == ["IdentityFile"]}
    assert "insecure" not in identity
    assert "insecure" not in " ".join(machine.there("cat ~/.ssh/authorized_keys"))


def test_rules_are_checked_from_here(machine: Place) -> None:
    report = json.loads(machine.nfharness("check", "--backend", "vagrant", "--json", "stolen.errno", "order.stable"))
    assert {one["rule"]: one["state"] for one in report["results"]} == {"order.stable": "conformant", "stolen.errno": "conformant"}
    assert report["kernels"][0]["backend"] == "vagrant"


def test_a_scenario_runs_on_the_machine(machine: Place) -> None:
    report = json.loads(machine.nfharness("run", "--backend", "vagrant", "--json"))
    assert report["kernel"]["backend"] == "vagrant"
    assert report["verdict"] == "conformant"
    assert [packet for packet in report["packets"] if packet["traversals"]]


def test_a_trace_leaves_out_the_connection_that_it_goes_over(machine: Place) -> None:
    rules = ("nft add table inet t; nft add chain inet t in '{ type filter hook input priority 0; }'; ping -qc1 127.0.0.1; "
             "nft delete table inet t")
    traced = json.loads(machine.nfharness("trace", "--backend", "vagrant", "--json", "--", "sh", "-c", rules))
    assert traced["verdict"] == "traced"
    assert [one for one in traced["packets"] if "ICMP" in one["packet"]]
    assert not [one for one in traced["packets"] if ":22 " in one["packet"]]


def test_a_trace_without_a_command_ends_when_it_was_told_to(machine: Place) -> None:
    started = time.monotonic()
    traced = json.loads(machine.nfharness("trace", "--backend", "vagrant", "--json", "--for", "2", "not", "dropped"))
    assert time.monotonic() - started >= 2
    assert (traced["verdict"], traced["command"]) == ("traced", ["sleep", "2.0"])


def test_a_command_has_its_streams_and_its_status_there(machine: Place) -> None:
    result = machine("exec", "--backend", "vagrant", "--", "sh", "-c", "uname -n; cat; exit 7", stdin=b"\0binary\xff")
    assert (result.status, result.out) == (7, b"nfharness\n\0binary\xff")


def test_a_shell_on_the_machine_is_a_terminal(machine: Place) -> None:
    terminal = Terminal(machine, "shell", "--backend", "vagrant")
    try:
        terminal.until(b"# ")
        terminal.type(b"uname -n; stty size; exit 9\n")
        terminal.until(b"nfharness\r\n33 101\r\n")
        assert terminal.process.wait(30) == 9
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_is_interrupted_leaves_nothing_there(machine: Place, number: signal.Signals, eventually: Callable[..., None]) -> None:
    process = machine.start("exec", "--backend", "vagrant", "--", "sh", "-c", "echo up; exec sleep 4321")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    eventually(lambda: machine.there("pgrep -f 'sleep 432[1]'; ls -d /run/nfharness-*; true") == [], "the command has ended there", 0.5)


@pytest.mark.long
def test_kernel_tests_run_on_the_machine_and_a_snapshot_follows_a_panic(machine: Place, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(Path(__file__).with_name("machine_tests.py"), tmp_path / "test_machine.py")
    machine.vagrant("snapshot", "save", "nfharness")
    machine.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--kernel", "6.12", "--backend", "vagrant",
                "--report-jsonl", "out.jsonl", status=1, directory=tmp_path)
    reported = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    outcomes = {one["test"].partition("::")[2].partition("[")[0]: one["outcome"] for one in reported if "test" in one}
    assert outcomes == {"test_a_rule_drops": "passed", "test_panics": "lost", "test_after_a_panic_there_is_a_new_kernel": "passed"}


@pytest.mark.long
def test_machines_of_two_kernels_stand_beside_each_other(machine: Place) -> None:
    other = Place(machine.pid, machine.images, {**machine.env, "NFHARNESS_KERNEL": "5.10"})
    other.vagrant("up", "--provider=libvirt")
    assert [place.there("uname -r")[0].split(".")[:2] for place in (machine, other)] == [["6", "12"], ["5", "10"]]
    other.vagrant("destroy", "--force")
    assert machine.there("uname -r")[0].startswith("6.12")


@pytest.mark.long
def test_a_machine_whose_kernel_hangs_comes_back_as_the_mend_says(machine: Place) -> None:
    died = machine("exec", "--backend", "vagrant", "--", "sh", "-c", "echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger")
    assert died.status == 125
    assert died.error[-1].endswith("one that hangs does after 'vagrant reload --force'")
    machine.vagrant("reload", "--force")
    assert "nfharness" in machine.there("cat /proc/modules")


def test_sessions_leave_nothing_on_the_machine(machine: Place) -> None:
    assert machine.there("sudo cat /sys/kernel/tracing/kprobe_events; sudo ls /run/netns; ls -d /run/nfharness-*; true") == []


def test_a_machine_halts_comes_up_again_and_is_destroyed_without_a_trace(machine: Place) -> None:
    machine.vagrant("halt")
    assert machine.names("list") == []
    machine.vagrant("up", "--provider=libvirt")
    assert "nfharness" in machine.there("cat /proc/modules")

    assert machine.names("net-list", "--all")
    machine.vagrant("destroy", "--force")
    assert machine.names("list", "--all") == []
    assert machine.names("net-list", "--all") == []
    assert machine.run("virsh", "vol-list", "default").splitlines()[2:] in ([], [""])


def _order(rule: str) -> int:
    from harness.conformance import RULES  # noqa: PLC0415

    return list(RULES).index(rule)
