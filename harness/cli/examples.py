"""Worked examples for ``trace --example``: shell scripts, each a situation that a person can start from."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError

__all__ = ("described", "files", "script")

_DIRECTORY = Path(__file__).with_name("examples")
#: What every example builds upon.
_NETWORK = "network.sh"


def described() -> dict[str, str]:
    """The examples' names, and what each shows: its first line."""
    return {path.stem: path.read_text().partition("\n")[0].removeprefix("# ") for path in sorted(_DIRECTORY.glob("*.sh"))
            if path.name != _NETWORK}


def files(name: str) -> tuple[Path, Path]:
    """The files that an example needs in its directory: what it builds upon, and itself.

    :raises UserError: there is no such example
    """
    if name not in described():
        raise UserError(f"there is no example {name!r}", hint=f"choose one of {', '.join(described())}")
    return _DIRECTORY / _NETWORK, _DIRECTORY / f"{name}.sh"


def script(name: str) -> str:
    """An example that needs no other file.

    :raises UserError: there is no such example
    """
    network, own = (path.read_text() for path in files(name))
    return own.replace(f". ./{_NETWORK}\n", network)
