"""Modules of a test author's, in the kernel for the time of a test."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.pytest_plugin.mistakes import Mistake, chosen
from harness.pytest_plugin.selection import MODULES

__all__ = ("LoadedModule", "loaded")

_LOADED = Path("/sys/module")


class LoadedModule:
    """A module that ``lab.module()`` has loaded.

    :ivar name: as ``/proc/modules`` has it
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<module {self.name}>"

    @property
    def is_loaded(self) -> bool:
        return (_LOADED / self.name / "initstate").exists()

    def parameter(self, name: str) -> str:
        """A parameter's value, as ``/sys/module`` shows it.

        :raises Mistake: the module shows no such parameter
        """
        directory = _LOADED / self.name / "parameters"
        names = {path.name: path for path in directory.iterdir()} if directory.is_dir() else {}
        return chosen(f"parameter of {self.name}'s", name, names).read_text().rstrip("\n")

    def unload(self) -> None:
        """``delete_module``; nothing if it is not loaded.

        :raises Mistake: it is in use, or has no exit function
        """
        if self.is_loaded:
            _run(["rmmod", self.name], f"the module {self.name} cannot be unloaded", "whatever uses it is to go first")


def loaded(name: str, parameters: dict[str, object]) -> LoadedModule:
    """Load a module of the setting ``kernel_modules``, after those of the kernel's that it needs.

    :raises Mistake: there is none of that name, it has no such parameter, or the kernel refuses it
    """
    file = chosen("module", name, {path.stem: path for path in sorted(MODULES.glob("*.ko"))})
    known = {line.partition(":")[0]: line for line in _told(file, "parmtype").splitlines()}
    for parameter in parameters:  # the kernel ignores those that it does not know
        chosen(f"parameter of {name}'s", parameter, known)
    for other in filter(None, _told(file, "depends").strip().split(",")):
        _run(["modprobe", other], f"{name} needs the module {other}", "choose a kernel that has it: kernel.require(…)")
    values = [f"{key}={int(value) if isinstance(value, bool) else value}" for key, value in parameters.items()]
    _run(["insmod", str(file), *values], f"the module {name} cannot be loaded", "the kernel's log says why: dmesg")
    return LoadedModule(file.stem.replace("-", "_"))


def _told(file: Path, field: str) -> str:
    """What a module says of itself (``modinfo``)."""
    return subprocess.run(["modinfo", "-F", field, str(file)], capture_output=True, text=True, check=True).stdout


def _run(command: list[str], what: str, hint: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Mistake(f"{what}: {(done.stderr or done.stdout).strip()}", hint=hint)
