"""Debian's archive through apt, with sources, keyring and lists of our own: the host's package database is never touched.

apt verifies every index against Debian's keyring and every package against its index. What no index lists:
:mod:`harness.images.archive_pool`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

from debian.debian_support import Version

from harness.errors import HostError
from harness.host import process
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.store import disk_full_is_an_error, locked, remove_tree, write_whole
from harness.images.refusals import refusal
from harness.requirements import found_no_network

__all__ = (
    "ARCHITECTURE",
    "KEYRING",
    "Package",
    "download",
    "download_for",
    "exclusive",
    "hint",
    "is_fresh",
    "mirror",
    "names",
    "options",
    "packages",
    "refresh",
)  # fmt: skip

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SUITES = ("bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid", "experimental")
_SECURITY_SUITES = ("bullseye-security", "bookworm-security", "trixie-security")
_FRESH_S = 24 * 3600
ARCHITECTURE = "amd64"


@dataclass(frozen=True, slots=True)
class Package:
    """One version of one binary package that the archive offers."""

    name: str
    version: str
    depends: tuple[str, ...]

    @property
    def sort_key(self) -> Version:
        return Version(self.version)


@cache
def mirror() -> tuple[str, str]:
    """Base addresses of the main and the security archive: ``NFHARNESS_MIRROR``, else the host's own, else Debian's."""
    asked = os.environ.get("NFHARNESS_MIRROR")
    uris: list[str] = []
    with suppress(FileNotFoundError):  # doctor looks on hosts without apt as well
        listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False)
        uris = [uri.rstrip("/") for uri in listed.stdout.split()]
    main = asked or next((uri for uri in uris if uri.endswith("/debian")), "http://ftp.debian.org/debian")
    security = next((uri for uri in uris if uri.endswith("/debian-security")), "http://security.debian.org/debian-security")
    return main.rstrip("/"), f"{asked.rstrip('/')}-security" if asked else security


def _apt_root() -> Path:
    return cache_dir() / "apt"


def options() -> list[str]:
    """What makes apt's programs work on our own indices and caches."""
    root = _apt_root()
    settings = {
        "Dir::Etc::sourcelist": root / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": root / "lists",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures::": ARCHITECTURE,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::http::Timeout": "30",
    }
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def _write_configuration() -> None:
    root = _apt_root()
    for directory in ("lists/partial", "cache/archives/partial"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    main, security = mirror()
    # Old and unreleased suites are often frozen on a mirror: their signature counts, its expiry date does not.
    trust = f"[signed-by={KEYRING} check-valid-until=no]"
    lines = [f"deb {trust} {main} {suite} main" for suite in _SUITES]
    lines += [f"deb {trust} {security} {suite} main" for suite in _SECURITY_SUITES]
    write_whole(root / "sources.list", "\n".join(lines) + "\n")


def is_fresh() -> bool:
    """Whether the indices at hand are less than a day old."""
    stamp = _apt_root() / "refreshed"
    return stamp.exists() and time.time() - stamp.stat().st_mtime < _FRESH_S


def exclusive(progress: Progress | None = None) -> AbstractContextManager[None]:
    """Keep other processes from changing the indices, or wait until they have."""
    with disk_full_is_an_error(_apt_root()):
        _apt_root().mkdir(parents=True, exist_ok=True)
    return locked(_apt_root() / ".lock", lambda: progress.note("waiting for another look at Debian's archive") if progress else None)


def refresh(*, force: bool = False, progress: Progress | None = None) -> None:
    """Fetch and verify the suites' indices, if those at hand are older than a day.

    :raises HostError: no index at hand, or *force*, and none could be had; offline with indices at hand is fine
    """
    if not force and is_fresh():
        return
    stamp = _apt_root() / "refreshed"
    with exclusive(progress):
        if force or not is_fresh():
            try:
                with progress.step("asking Debian's archive", expected_s=15) if progress else nullcontext():
                    _refresh(stamp)
            except HostError:
                if force or not stamp.exists():
                    raise


def _refresh(stamp: Path) -> None:
    if not KEYRING.exists():
        raise HostError(f"Debian's archive keys are missing ({KEYRING})", hint="apt-get install debian-archive-keyring")
    with disk_full_is_an_error(_apt_root()):
        _write_configuration()
        log = _apt_root() / "update.log"
        log.unlink(missing_ok=True)
        try:
            process.run(
                process.bound(["apt-get", *options(), "-o", "APT::Update::Error-Mode=any", "-q", "update"]),
                what="fetching Debian's package indices",
                log=log,
                timeout=600,
            )
        except HostError as error:
            raise HostError(error.message, hint=hint(error)) from None
        stamp.touch()


def packages(prefixes: Iterable[str]) -> list[Package]:
    """All versions of all packages whose name starts with one of *prefixes*, from the indices at hand."""
    from debian.deb822 import Packages  # noqa: PLC0415 - most commands ask for no package

    wanted = tuple(prefixes)
    chosen = sorted(name for name in names() if name.startswith(wanted))
    if not chosen:
        return []
    found: dict[tuple[str, str], Package] = {}
    for paragraph in Packages.iter_paragraphs(_apt_cache("show", *chosen), use_apt_pkg=False):
        depends = tuple(part.strip() for part in paragraph.get("Depends", "").split(","))
        package = Package(paragraph["Package"], paragraph["Version"], depends)
        found[package.name, package.version] = package
    return list(found.values())


def hint(error: HostError, source: str = "") -> str:
    """What puts a download that failed right.

    :param source: its address, if it is not the mirror's
    """
    said = error.output if isinstance(error, process.ProgramFailed) else error.message
    if any(sign in said for sign in ("Hash Sum mismatch", "unexpected size", "BADSIG", "signatures were invalid")):
        return f"the mirror served a corrupt file: try again, or set NFHARNESS_MIRROR to another Debian mirror; {error.hint}"
    if "404" in error.message:
        return f"the list of packages is out of date: nfharness kernels --refresh; {error.hint}"
    if "certificate" in error.message:
        return f"apt-get install ca-certificates; {error.hint}"
    if not found_no_network(said):
        return error.hint or "try again"
    host = urlparse(source or mirror()[0]).hostname
    other = "a Debian mirror that speaks https" if source else "another Debian mirror"
    return f"check the network to {host}, or set NFHARNESS_MIRROR to {other}; {error.hint}"


def _apt_cache(*arguments: str, more: Sequence[str] = ()) -> bytes:
    done = subprocess.run(["apt-cache", *options(), *more, *arguments], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"]
        raise HostError(f"reading Debian's package indices failed: {said[-1]}", hint="nfharness kernels --refresh")
    return done.stdout


def names(prefix: str = "", more: Sequence[str] = ()) -> list[str]:
    """Names of packages, virtual ones included, that begin with *prefix*, from the indices at hand.

    :param more: options of apt's beside :func:`options`, for other suites
    """
    return _apt_cache("pkgnames", prefix, more=more).decode().split()


def _over(root: Path, suite: str, directory: Path) -> list[str]:
    """What makes apt's programs work for a tree, with one suite and its security updates; what they keep goes to *directory*."""
    (directory / "partial").mkdir(parents=True, exist_ok=True)
    listed = (_apt_root() / "sources.list").read_text().splitlines(keepends=True)
    (directory / "sources.list").write_text("".join(line for line in listed if line.split()[-2] in (suite, f"{suite}-security")))
    settings = {
        "Dir::Etc::sourcelist": directory / "sources.list", "Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::status": root / "var/lib/dpkg/status", "Dir::Cache::archives": directory,
        "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "",
        # A name means the package of that name, and never what it matches as a regular expression.
        "APT::Cmd::Pattern-Only": "true",
    }  # fmt: skip
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def download_for(root: Path, suite: str, wanted: Sequence[str], directory: Path) -> list[Path]:
    """Fetch packages *wanted* of a suite, and what they need that the tree *root* has not got installed, into *directory*.

    :raises UserError: the suite lacks one of them, or they do not go together with one another or with what is installed
    :raises HostError: no network, or an archive that is not what the index says
    """
    more = _over(root, suite, directory)
    what, log = f"downloading {', '.join(wanted)}", directory / "download.log"
    command = ["env", "LC_ALL=C.UTF-8", "apt-get", *options(), *more, "-q", "-y", "--no-install-recommends", "--no-remove",
               "--download-only", "install", *wanted]  # fmt: skip
    try:
        with exclusive():
            process.run(process.bound(command), what=what, log=log, timeout=1800)
    except process.ProgramFailed as error:
        if refused := refusal(error.output, suite, wanted, lambda: names(more=more)):
            raise refused from None
        raise HostError(error.message, hint=hint(error)) from None
    return sorted(directory.glob("*.deb"))


def download(wanted: Iterable[Package], directory: Path) -> list[Path]:
    """Fetch *wanted* into *directory*; apt checks size and hash against the signed index.

    :raises HostError: no network, or an archive that is not what the index says
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "download.log"
    versions = [f"{package.name}={package.version}" for package in wanted]
    try:
        with exclusive():
            process.run(
                process.bound(["apt-get", *options(), "-q", "download", *versions]),
                what="downloading kernel packages",
                log=log,
                timeout=1800,
                cwd=directory,
            )
    except HostError as error:
        remove_tree(directory)
        raise HostError(error.message, hint=hint(error)) from None
    return sorted(directory.glob("*.deb"))
