"""Suites of tests that other projects keep beside their sources: how each is run, and how a directory's tests are found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from harness.errors import UserError

__all__ = ("KNOWN", "Suite", "copied", "found")

#: What guests are given of a suite is in their memory.
_LIMIT = 64 << 20
_LEFT_OUT = ("__pycache__",)


@dataclass(frozen=True, slots=True)
class Suite:
    """How a suite is run.

    :param package: Debian package of the userland to whose sources it belongs
    :param place: its directory in the sources
    :param tests: globs of paths in that directory
    :param runner: the words of a program in that directory that runs one test, which is its last argument; empty if tests run by themselves
    :param environment: variables for each test
    :param remembered: regular expression with two groups, name and value of a variable that the runner prints when it has found it out:
        later tests in the same guest are given it
    :param with_packages: Debian packages that its tests need beside the userland's
    :param isolation: how long a guest is used: ``test`` or ``worker``
    """

    package: str = ""
    place: str = "."
    tests: Sequence[str] = ("*",)
    runner: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    remembered: str = ""
    with_packages: Sequence[str] = ()
    isolation: str = "test"


#: Those that have a name. Their runners give each test new namespaces, so that tests share a guest.
KNOWN = {
    "nftables": Suite("nftables", "tests/shell", ("testcases/*",), ("run-tests.sh",),
                      {"NFT": "nft", "VERBOSE": "y", "NO_COLOR": "y", "NFT_TEST_JOBS": "1"},
                      r"^I: conf: (NFT_TEST_HAVE_\w+)=([yn])$", ("jq",), "worker"),
    "iptables": Suite("iptables", "iptables/tests/shell", ("testcases/*_[0-9]",), ("run-tests.sh", "--host"), isolation="worker"),
}


def found(directory: Path, suite: Suite) -> list[str]:
    """The tests of a directory: the executable files that the suite's globs match, less its runner; hidden ones are left out.

    :raises UserError: there are none
    """
    names = sorted(str(path.relative_to(directory)) for path in _files(directory) if os.access(path, os.X_OK))
    chosen = [name for name in names if name not in suite.runner[:1] and any(fnmatchcase(name, glob) for glob in suite.tests)]
    if not chosen:
        raise UserError(f"{directory} has no executable file that {' or '.join(suite.tests)} matches",
                        hint="tests are programs: chmod +x; --tests GLOB says which are, --runner PROGRAM what runs them")
    return chosen


def copied(directory: Path, target: Path) -> None:
    """Copy what guests need of a suite: all of its directory but what is hidden.

    Files that links lead to are copied; links to directories, sockets and the like are left out.

    :raises UserError: it is too large for a guest's memory, or a file cannot be read
    """
    total = 0
    for path in _files(directory):
        total += path.stat().st_size
        if total > _LIMIT:
            raise UserError(f"{directory} has more than {_LIMIT >> 20} MiB, and guests are given all of it",
                            hint="name the directory of the tests themselves")
        new = target / path.relative_to(directory)
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(path, new)
        except PermissionError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}", hint="guests are given all of the directory") from None


def _files(directory: Path) -> Iterator[Path]:
    for where, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith(".") and name not in _LEFT_OUT)
        yield from (path for name in names if not name.startswith(".") and (path := Path(where, name)).is_file())
