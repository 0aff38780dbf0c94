"""A Vagrant machine from its birth to its end, with real libvirt, and the commands that reach it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.vm.examine_vagrant import examine_vagrant

CHECKOUT = Path(__file__).parents[2]
MACHINE = "kernel-6.12"
DOZEN = ("order.ascending", "order.equal-newest-first", "order.stable", "order.foreign", "drop.errno", "drop.eperm", "drop.frees",
         "stolen", "stolen.errno", "netdev.ingress", "raw.insert", "queue.no-handler")
_DEADLINE_S = 600


class Place:
    """Where libvirt runs. :param pid: its first process; :param env: Vagrant's files beside no user's own"""

    def __init__(self, pid: int, env: dict[str, str]) -> None:
        self.pid, self.env = pid, {**os.environ, **env}

    def __call__(self, *argv: str, status: int = 0, directory: str = ".") -> str:
        """Run a command there; what it says on standard output."""
        command = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", f"--wd={CHECKOUT / directory}", "--", *argv]
        done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEADLINE_S,
                              check=False)
        assert done.returncode == status, f"{argv} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def vagrant(self, *argv: str) -> str:
        return self("vagrant", *argv, directory="vagrant")

    def nfharness(self, *argv: str, status: int = 0) -> str:
        return self(sys.executable, "-m", "harness", *argv, status=status)

    def names(self, *what: str) -> list[str]:
        """What libvirt lists."""
        return self("virsh", *what, "--name").split()


def needs_vagrant() -> None:
    if not shutil.which("vagrant"):
        pytest.skip("vagrant is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    needs_vagrant()
    lacking = [f"{one.name}: {one.found}" for one in examine_vagrant() if one.state == "missing" and one.name != "libvirtd"]
    if os.geteuid() != 0 or lacking or not shutil.which("libvirtd"):
        pytest.skip("; ".join(lacking) or ("libvirtd is not installed" if os.geteuid() == 0 else "libvirt of its own needs root"))
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
            yield Place(first, environment)
        finally:
            outer.send_signal(signal.SIGKILL)


def test_the_vagrantfile_is_valid(tmp_path: Path) -> None:
    needs_vagrant()
    environment = {**os.environ, "VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    done = subprocess.run(["vagrant", "validate"], cwd=CHECKOUT / "vagrant", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "validated successfully" in done.stdout


@pytest.mark.slow
def test_a_machine_from_its_birth_to_its_end(place: Place) -> None:
    assert "is not up" in _error(place, "exec", "--backend", "vagrant", "--", "true")
    place.vagrant("up", "--provider=libvirt")

    in_the_box = json.loads(place.vagrant("ssh", "-c", f"nfharness check --json {' '.join(DOZEN)}"))
    assert [(one["rule"], one["state"]) for one in in_the_box["results"]] == [(rule, "conformant") for rule in sorted(DOZEN, key=_order)]
    assert in_the_box["kernels"][0]["backend"] == "local"

    from_here = json.loads(place.nfharness("check", "--backend", "vagrant", "--json", "stolen", "order.stable"))
    assert {one["state"] for one in from_here["results"]} == {"conformant"}
    assert from_here["kernels"][0]["backend"] == "vagrant"
    place.nfharness("exec", "--backend", "vagrant", "--", "sh", "-c", "test $(uname -n) = nfharness && exit 7", status=7)
    traced = json.loads(place.nfharness("trace", "--backend", "vagrant", "--json", "--", "nft", "list", "ruleset"))
    assert traced["verdict"] == "traced"
    assert not [one for one in traced["packets"] if ":22 " in one["packet"]]

    # Nothing of a session stays behind.
    left = place.vagrant("ssh", "-c", "sudo cat /sys/kernel/tracing/kprobe_events; sudo ls /run/netns; ls -d /run/nfharness-*; true")
    assert left.split() == []

    place.vagrant("halt")
    assert place.names("list") == []
    place.vagrant("up", "--provider=libvirt")
    assert "nfharness" in place.vagrant("ssh", "-c", "cat /proc/modules")

    place.vagrant("destroy", "--force")
    assert place.names("list", "--all") == []
    assert place("virsh", "vol-list", "default").splitlines()[2:] in ([], [""])


def _order(rule: str) -> int:
    from harness.conformance import RULES  # noqa: PLC0415

    return list(RULES).index(rule)


def _error(place: Place, *argv: str) -> str:
    command = ["nsenter", f"--target={place.pid}", "--mount", "--net", "--pid", f"--wd={CHECKOUT}", "--", sys.executable, "-m", "harness"]
    done = subprocess.run([*command, *argv], env=place.env, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
    assert done.returncode == 125
    return done.stderr
