"""Who may run scenarios, told from procfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.guest.privilege import require_root

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
