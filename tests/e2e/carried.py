"""What makes a machine of a guest, on which nfharness itself runs: the checkout, the Python packages that guests lack, nfharness.ko."""

from __future__ import annotations

import re
import sysconfig
import tarfile
from collections.abc import Iterable
from importlib.metadata import distribution, requires
from pathlib import Path

from harness.images.guest_packages import ROOTS
from tests.e2e.conftest import CHECKOUT

__all__ = ("ENVIRONMENT", "packed", "unpack")

_PLACE = "/opt/nfharness"
#: How a command there finds them.
ENVIRONMENT = {"PYTHONPATH": f"{_PLACE}:{_PLACE}/packages", "NFHARNESS_STATE": f"{_PLACE}/state"}
_SITE = Path(sysconfig.get_path("purelib"))
#: Packages that guests have, and those with code of the host's Python in them, with which sources are parsed.
_LEFT_OUT = {*ROOTS, "tree-sitter", "tree-sitter-c"}


def packed(file: Path, suite: Iterable[Path]) -> None:
    """Write a tar of them.

    :param suite: files that lie in the directory ``suite`` there
    """
    with tarfile.open(file, "w") as tar:
        for name in ("harness", "kmod", "pyproject.toml", "requirements.lock"):
            tar.add(CHECKOUT / name, name, filter=_plain)
        for name in _packages():
            tar.add(_SITE / name, f"packages/{name}", filter=_plain)
        for path in suite:
            tar.add(path, f"suite/{path.name}")


def unpack(file: Path) -> str:
    """A shell script for the guest: the machine is ready, and ``suite`` the directory."""
    there = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
    return (f"mkdir -p {_PLACE} && cd {_PLACE} && tar -xf /root/{file.name} && rm /root/{file.name} && export {there} && "
            "cp /run/nfharness/nfharness.ko kmod/ && cd suite")


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if re.search(r"(^|/)__pycache__|\.ko$", entry.name) else entry


def _packages() -> set[str]:
    """Top-level names in this Python's directory of packages, of all that the project depends on."""
    names, found = ["nfharness"], {next(_SITE.glob("nfharness-*.dist-info")).name}
    seen = set(_LEFT_OUT)
    while names:
        for line in requires(names.pop()) or ():
            name = re.split(r"[^A-Za-z0-9._-]", line)[0].lower()
            if ";" not in line and name not in seen:
                seen.add(name)
                names.append(name)
                found |= {file.parts[0] for file in distribution(name).files or () if file.parts[0] not in ("..", "__pycache__")}
    return {name for name in found if (_SITE / name).exists()}
