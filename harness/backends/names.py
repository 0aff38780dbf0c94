"""What ``--backend`` names: our own guests, machines of Vagrant's, this machine, or one that ssh reaches."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ("NAMES", "Backend", "Reached", "backend_name", "has_its_kernel", "reached")

Backend = str
"""``qemu`` (our own guests), ``vagrant`` (a Vagrant machine that is up), ``local`` (the kernel of this very machine), or
``ssh=HOST[:PYTHON]`` (that of a machine which ssh reaches)."""

#: In words, for help and errors.
NAMES = "qemu, vagrant, local or ssh=HOST"
#: No name begins with "-", which ssh would take for an option. What follows ":/" is a path; "//" has a meaning for execnet.
_SSH = re.compile(r"ssh=(?P<host>[^\s/-][^\s/]*?)(:(?P<python>(/[^\s/]+)+))?")


@dataclass(frozen=True, slots=True)
class Reached:
    """A machine that ssh reaches.

    :param host: its name for ssh
    :param python: path there of the Python that becomes the agent
    """

    host: str
    python: str


def reached(backend: Backend) -> Reached | None:
    """The machine of ``ssh=HOST[:PYTHON]``; ``None`` for another backend."""
    found = _SSH.fullmatch(backend)
    return Reached(found["host"], found["python"] or "python3") if found else None


def backend_name(text: str) -> Backend:
    """What a user has given, if it names a backend.

    :raises ValueError: it names none
    """
    if text not in ("qemu", "vagrant", "local") and not reached(text):
        raise ValueError(f"{text!r} is not one of {NAMES}")
    return text


def has_its_kernel(backend: Backend) -> bool:
    """Whether a backend is a machine with a kernel, and no kernel is chosen."""
    return backend == "local" or reached(backend) is not None
