"""``nfharness run``: what a stranger sees first, from a clean clone on."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.scenario import BUILTIN
from tests.e2e.conftest import CHECKOUT, DEADLINE_S, CommandLine

_SWAPPED = {
    "name": "swapped",
    "topology": "pair",
    "steps": [
        {"do": "register", "id": "older", "netns": "host", "pf": "IPV4", "hook": "INPUT", "priority": 0},
        {"do": "register", "id": "newer", "netns": "host", "pf": "IPV4", "hook": "INPUT", "priority": 0},
        {"do": "send", "from": "peer", "to": "host", "cookie": 7},
    ],
}


def test_the_default_scenario_is_conformant_and_says_so_last(nfharness: CommandLine) -> None:
    result = nfharness("run")
    lines = result.out.decode().splitlines()
    assert (result.status, lines[-1]) == (0, "conformant")
    points = [re.split(r"  +", line.removeprefix("├─ "))[:2] for line in lines if line.startswith("├─ ")]
    assert [point for point, netns in points if netns == "router"][:3] == ["PREROUTING", "FORWARD", "POSTROUTING"]
    assert any("returned -EHOSTUNREACH" in line for line in lines)


def test_json_is_one_object_with_everything_a_machine_wants(nfharness: CommandLine) -> None:
    result = nfharness("run", "--json")
    document = json.loads(result.out)
    assert (result.status, document["verdict"], document["scenario"]) == (0, "conformant", "router")
    assert (document["differences"], document["lost_events"]) == ([], 0)
    assert {"release", "accelerator", "profile"} <= document["kernel"].keys()
    through, dropped = (packet for packet in document["packets"] if packet["cookie"] in (1, 2))
    assert (through["fate"], dropped["fate"], dropped["errno"]) == ("delivered", "dropped", "EHOSTUNREACH")
    forward = next(one for one in through["traversals"] if (one["netns"], one["hook"]) == ("router", "FORWARD"))
    assert (forward["pf"], forward["in"], forward["out"], forward["returned"]) == ("IPV4", "to-client", "to-server", 1)
    ours = [call for call in forward["calls"] if call["function"] == "nfharness_hook"]
    assert [call["label"] for call in ours] == ["filter-newer", "filter-older", "guard", "after-guard"]
    assert {"index", "function", "module", "priority", "verdict", "ns"} <= ours[0].keys()
    assert all(call["ns"] > 0 for call in forward["calls"])


def test_a_file_of_ones_own_runs_and_equal_priorities_run_newest_first(nfharness: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "swapped.json"
    file.write_text(json.dumps(_SWAPPED))
    result = nfharness("run", "--json", str(file))
    assert result.status == 0, result
    (packet,) = json.loads(result.out)["packets"]
    assert [call["label"] for call in packet["traversals"][-1]["calls"]] == ["newer", "older"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BUILTIN if name != "router"])
def test_each_built_in_scenario_is_conformant(nfharness: CommandLine, name: str) -> None:
    result = nfharness("run", name)
    assert (result.status, result.out.decode().splitlines()[-1]) == (0, "conformant"), result


def test_list_names_every_built_in_scenario(nfharness: CommandLine) -> None:
    assert [line.split()[0] for line in nfharness("run", "--list").out.decode().splitlines()] == list(BUILTIN)


def test_save_writes_a_file_that_runs(nfharness: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "saved.json"
    assert nfharness("run", "loopback", "--save", str(file)).status == 0
    assert nfharness("run", str(file)).out.decode().splitlines()[-1] == "conformant"


def test_two_at_once_do_not_meet(nfharness: CommandLine) -> None:
    processes = [nfharness.start("run") for _ in range(2)]
    assert [process.communicate(timeout=DEADLINE_S)[0].decode().splitlines()[-1] for process in processes] == ["conformant"] * 2


@pytest.mark.slow
def test_from_a_clean_clone_with_nothing_but_python(ready: None, tmp_path: Path) -> None:
    """``.venv`` is made from the lock; the images are those that are here."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)
    command = ["python3", "-m", "harness", "run", "--json"]
    done = subprocess.run(command, cwd=clone, env=_bare_environment(), capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "conformant"
    assert (clone / ".venv/bin/nfharness").exists()


def test_a_venv_that_was_not_finished_is_made_anew_by_another_python(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)
    subprocess.run(["python3", "-m", "venv", "--without-pip", str(clone / ".venv")], env=_bare_environment(), check=True)
    command = [str(clone / ".venv/bin/python"), "-m", "harness", "run"]
    done = subprocess.run(command, cwd=clone, env=_bare_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (125, [
        f"nfharness: error: {clone / '.venv'} lacks click",
        "  hint: python3 -m harness, with a Python that is not of .venv, makes it anew",
    ])  # fmt: skip


def _bare_environment() -> dict[str, str]:
    """A login's, with what says where the cache is and how pip reaches its index."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("NFHARNESS_", "PIP_", "SSL_")) or "proxy" in name.lower()}
    path = ":".join(part for part in os.environ["PATH"].split(":") if ".venv" not in part)
    return {**kept, "HOME": str(Path.home()), "PATH": path}
