"""The local backend: doctor names every requirement of this machine, and what is missing is told without a traceback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.backends import attached as room
from harness.backends import local as backend
from harness.backends.attached import attached
from harness.doctor import local
from harness.doctor.examine import Finding
from harness.errors import GuestError, NfharnessError

_NAMED = {
    "root", "BTF", "tracefs", "kprobes", "kprobes' switch", "debugfs", "perf events", "BPF", "kallsyms", "kcore", "headers",
    "modules", "modules' lock", "lockdown", "signed modules", "nfharness.ko",
    *(f"Python's {name}" for name in ("bcc", "capstone", "pyroute2", "scapy", "pytest", "hypothesis")),
}  # fmt: skip


def _examined() -> dict[str, Finding]:
    return {one.name: one for one in local.examine_local()}


def test_every_requirement_is_named_with_its_hint() -> None:
    found = _examined()
    assert set(found) == _NAMED
    assert all(one.hint for one in found.values() if one.state == "missing")
    assert found["Python's capstone"].state == "ok"


def test_a_package_that_cannot_be_imported_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PACKAGES", {"no_such_package": ("does nothing", "pip install it"), "json": ("reads", "")})
    found = list(local._packages())
    assert [(one.name, one.state) for one in found] == [("Python's no_such_package", "missing"), ("Python's json", "ok")]
    assert found[0].found == "ModuleNotFoundError No module named 'no_such_package'"


@pytest.mark.parametrize(
    ("mask", "lacking"),
    [("000001ffffffffff", []), ("00000000a80425fb", ["CAP_NET_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_ADMIN"])],
)
def test_root_of_a_container_lacks_capabilities(mask: str, lacking: list[str]) -> None:
    assert local.lacking_capabilities(f"Name:\tx\nCapEff:\t{mask}\n") == lacking


def test_a_module_for_another_kernel_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "package_file", lambda _name: tmp_path)
    with pytest.raises(GuestError, match=r"there is no nfharness\.ko for 6\.1\.0-9"):
        backend.local_module("6.1.0-9")
    (tmp_path / "nfharness.ko").write_bytes(b"\x7fELF\0vermagic=6.1.0-8 SMP mod_unload \0")
    with pytest.raises(GuestError, match=r"is for 6\.1\.0-8, and 6\.1\.0-9 runs"):
        backend.local_module("6.1.0-9")
    assert backend.local_module("6.1.0-8") == tmp_path / "nfharness.ko"


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        ("import no_such_package", "the agent's Python has no no_such_package", "pip install no_such_package"),
        ("raise ValueError('broken')", "the agent ended: ValueError: broken", "see {state}/failed/agent.log"),
    ],
)
def test_an_agent_that_does_not_come_up_says_why(code: str, message: str, hint: str, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    monkeypatch.setattr(room, "code_archive", lambda: type("Code", (), {"data": b""}))

    async def attach() -> Any:
        async with attached([sys.executable, "-I", "-c", code]):
            pass

    with pytest.raises(NfharnessError) as caught:
        asyncio.run(attach())
    assert (caught.value.message, caught.value.hint) == (message, hint.format(state=tmp_path))


def test_the_agent_s_python_is_ours_and_finds_what_the_distribution_has(tmp_path: Path) -> None:
    (tmp_path / "only_there.py").write_text("")
    command = room.session_command(sys.executable, str(tmp_path))
    start = command[command.index("-c") + 1].split("\n")[0]
    look = [*command[: command.index("-c")], "-c", f"{start}\nimport only_there, capstone"]
    subprocess.run(look, check=True)
