"""Packages that no index lists any more but that lie in the archive's pool all the same.

Backports keeps the signed images of a series that it has passed, and no longer lists the modules and headers that belong to them. No
signature covers those: they come over TLS, and their hashes go to the log of what is built from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from debian.debfile import DebFile

from harness.errors import HostError
from harness.host import process
from harness.images import archive

__all__ = ("address", "download")

_SOURCE = "pool/main/l/linux"
_HELPER = "/usr/lib/apt/apt-helper"


def address() -> str:
    """Where the pool's packages of the kernel are: on the mirror, asked over TLS whatever its own address says."""
    return f"https://{archive.mirror()[0].partition('://')[2]}/{_SOURCE}"


def download(names: Iterable[str], version: str, prefixes: tuple[str, ...], directory: Path, log: Path) -> list[Path]:
    """Fetch packages *names* of one source version, and what they depend on among those whose name starts with one of *prefixes*.

    What *directory* has already is not fetched.

    :raises HostError: the pool does not have one of them either, or no network
    """
    directory.mkdir(parents=True, exist_ok=True)
    had = {path.name.split("_")[0] for path in directory.glob("*.deb")}
    waiting, found = sorted(names), []
    while waiting:
        name = waiting.pop()
        if name in had:
            continue
        had.add(name)
        found.append(_fetch(name, version, directory, log))
        depends = str(DebFile(found[-1]).debcontrol().get("Depends", ""))
        waiting += [first for part in depends.split(",") if (first := part.strip().split(" ")[0]).startswith(prefixes)]
    return found


def _fetch(name: str, version: str, directory: Path, log: Path) -> Path:
    """A package for this architecture, or else one for all."""
    for architecture in (archive.ARCHITECTURE, "all"):
        file = directory / f"{name}_{version}_{architecture}.deb"
        source = f"{address()}/{file.name}"
        command = [_HELPER, *archive.options(), "download-file", source, str(file)]
        try:
            process.run(process.bound(command), what=f"downloading {file.name}", log=log, timeout=1800)
        except HostError as error:
            file.unlink(missing_ok=True)
            if "404" in error.message:
                continue
            raise HostError(error.message, hint=archive.hint(error, source)) from None
        with log.open("a") as output:
            output.write(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
        return file
    message = f"neither Debian's suites nor {address()} have {name} {version} any more"
    raise HostError(message, hint="choose another build: 'nfharness kernels --all'")
