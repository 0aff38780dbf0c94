"""Who may run scenarios, and whose first network namespace they may have, told from procfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.guest.privilege import require_guest, require_root

_ALL, _NONE = "000001ffffffffff", "0000000000000000"


def thread(directory: Path, capabilities: str, ids: str | None) -> Path:
    (directory / "status").write_text(f"Name:\tpython3\nCapEff:\t{capabilities}\n")
    if ids is not None:
        (directory / "uid_map").write_text(ids)
    return directory


@pytest.mark.parametrize("ids", ["         0          0 4294967295\n", None], ids=["initial", "no user namespaces"])
def test_root_of_the_machine_may(tmp_path: Path, ids: str | None) -> None:
    require_root(thread(tmp_path, _ALL, ids))


def test_root_of_a_user_namespace_may_not(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="this is a user namespace"):
        require_root(thread(tmp_path, _ALL, "         0       1000          1\n"))


def test_who_is_not_root_may_not_though_the_kernel_has_no_user_namespaces(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="scenarios need CAP_NET_ADMIN"):
        require_root(thread(tmp_path, _NONE, None))


def test_a_guest_s_first_process_is_the_agent(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"/usr/bin/python3\0-I\0-B\0/run/stage0.py\0")
    require_guest(tmp_path)


@pytest.mark.parametrize("line", [b"/sbin/init\0", b"", b"vi\0/run/stage0.py.orig\0"])
def test_the_first_namespace_of_another_machine_is_not_lent(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "cmdline").write_bytes(line)
    with pytest.raises(GuestError, match="first network namespace is used by others") as raised:
        require_guest(tmp_path)
    assert raised.value.hint == "run it in a guest: leave --backend away"


def test_the_agent_is_started_by_the_name_that_is_looked_for() -> None:
    script = Path(__file__).parents[2] / "harness/agent/init.sh"
    assert 'next="/usr/bin/python3 -I -B /run/stage0.py"' in script.read_text()
