"""The one Debian userland: every guest's read-only root, and the toolchain that builds for it at the host's own speed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HostError
from harness.host import process
from harness.host.paths import cache_dir, package_file
from harness.host.progress import Progress
from harness.host.store import building
from harness.images import archive
from harness.images.guest_packages import ROOTS, lock_excerpt
from harness.requirements import found_no_network

__all__ = ("SITE", "SUITE", "ext4_image", "in_chroot", "install_python_packages", "key", "userland", "userland_path")

SUITE = "trixie"
_PYTHON = "3.13"
#: Where the guest's Python packages are.
SITE = f"usr/local/lib/python{_PYTHON}/dist-packages"
_PACKAGES = (
    # The agent and the tracer.
    "python3", "python3-bpfcc",
    # Building modules, layers and initial RAM disks.
    "gcc", "libc6-dev", "make", "kmod", "cpio", "xz-utils", "zstd", "libelf1t64", "busybox-static",
    # What a person types in a guest.
    "iproute2", "iputils-ping", "procps", "nftables", "iptables", "arptables", "ebtables", "conntrack", "socat", "tcpdump", "ncurses-base",
    # What kernels' own selftests ask for: of them, and to compile their helpers.
    "psmisc", "iperf3", "ipvsadm", "libmnl-dev",
)  # fmt: skip
#: Where a directory with an odd name is mounted for mmdebstrap.
_ELSEWHERE = Path("/mnt")
_READ_ONLY = ("-O", "^has_journal,^resize_inode")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/bcc/*")


def key() -> str:
    """What the userland is made of, as a hash: another recipe is another userland, never a patched one."""
    recipe = (SUITE, _PYTHON, _PACKAGES, _LEFT_OUT, lock_excerpt(package_file("requirements.lock"), ROOTS))
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]


def userland_path() -> Path:
    """Where the userland is, or would be."""
    return cache_dir() / "userland" / key()


def userland(progress: Progress) -> Path:
    """The userland's directory, built if need be: ``root/`` to chroot into and ``root.img`` for guests.

    :raises HostError: no network, no room, or mmdebstrap's own error
    """
    path = userland_path()
    with building(path, waiting=lambda: progress.note("waiting for another build of the userland")) as new:
        if new:
            _build(new, progress)
    return path


def _build(new: Path, progress: Progress) -> None:
    root, log = new / "root", new / "build.log"
    with progress.step("userland: Debian trixie, packages", expected_s=45):
        _bootstrap(new / "root.tar", log)
        root.mkdir()
        process.run(
            # All of it belongs to the guest's root, as it must where the user who builds it has only that one to give it to.
            # There, not with -C: tar takes a backslash in that for the start of an escape.
            process.in_namespace(["tar", "-x", "--no-same-owner", "--exclude=./dev/*", "-f", str(new / "root.tar")]),
            what="unpacking the userland",
            log=log,
            timeout=600,
            cwd=root,
        )
        (new / "root.tar").unlink()
    with progress.step("userland: Python packages from the lock", expected_s=15):
        requirements = lock_excerpt(package_file("requirements.lock"), ROOTS)
        install_python_packages(root / SITE, requirements, new, log)
        in_chroot(root, new, f"python3 -m compileall -q /{SITE} || true; rm -rf /var/cache/* /tmp/*", log, what="compiling Python packages")
    with progress.step("userland: image", expected_s=10):
        ext4_image(root, new / "root.img", log)


def _bootstrap(tar: Path, log: Path) -> None:
    main, security = archive.mirror()
    sources = [
        f"deb [signed-by={archive.KEYRING}] {main} {SUITE} main",
        f"deb [signed-by={archive.KEYRING}] {main} {SUITE}-updates main",
        f"deb [signed-by={archive.KEYRING}] {security} {SUITE}-security main",
    ]
    plain = tar.parent if re.fullmatch(r"[A-Za-z0-9@%+=:,./_-]+", str(tar.parent)) else _ELSEWHERE
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", "--architectures=amd64", f"--include={','.join(_PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"',
        SUITE, str(plain / tar.name), *sources,
    ]  # fmt: skip
    # As root its mounts and children live in their own namespaces and vanish with it; otherwise mmdebstrap makes its own.
    # Its temporary directory is part of what is swept after a crash. It has a plain name there: mmdebstrap writes it to apt's
    # configuration, where nothing can be quoted.
    place = '[ "$0" = "$1" ] || mount --bind "$0" "$1"; export TMPDIR="$1"; shift; exec "$@"'
    names = [str(tar.parent), str(plain)]
    wrapped = process.in_namespace(["sh", "-ec", place, *names, *command], every_user=True)
    try:
        process.run(wrapped, what="mmdebstrap", log=log, timeout=1800)
    except HostError as error:
        raise HostError(error.message, hint=archive.hint(error)) from None


def install_python_packages(target: Path, requirements: str, scratch: Path, log: Path) -> None:
    """Let pip install a part of the lock for the guest's Python.

    :param scratch: directory on the same disk for temporary files
    :raises HostError: no network, no room, or an archive that is not the lock's
    """
    excerpt = scratch / "guest-requirements.txt"
    excerpt.write_text(requirements)
    platforms = [f"--platform={name}" for name in ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")]
    command = [
        *process.bound(["env", f"TMPDIR={scratch}", sys.executable, "-m", "pip", "install", "--quiet"]),
        "--disable-pip-version-check", "--no-compile",
        f"--target={target}", f"--python-version={_PYTHON}", *platforms, "--only-binary=:all:",
        "--no-deps", "--require-hashes", "-r", str(excerpt),
    ]  # fmt: skip
    try:
        process.run(command, what="installing the guest's Python packages", log=log, timeout=900)
    except process.ProgramFailed as error:
        network = "check the network to the index of Python packages; " if found_no_network(error.output) else ""
        raise HostError(error.message, hint=f"{network}{error.hint}") from None


#: The userland itself, $1, is the root of the script, which changes it.
_BIND = """
mount --bind "$1" "$1"
cd "$1"
"""
#: The root of the script is made in $1: the userland $2, over it $3 if there is one, under what the script changes, $5 in $4. Each has a
#: short name first: overlayfs' options end at a comma, and lowerdir at a colon, whatever the paths have.
_OVERLAY = """
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir lower above upper merged
mount --bind "$2" lower
lowers=lower
if [ "$3" ]; then mount --bind "$3" above; lowers=above:lower; fi
mount --bind "$4" upper
mount -t overlay overlay -o "lowerdir=$lowers,upperdir=upper/$5,workdir=upper/.$5.work$6" merged
cd merged
"""
_ENTER = """
mkdir -p proc dev
mount -t proc proc proc
mount --rbind /dev dev
exec chroot . /bin/sh -ec "$0"
"""


def in_chroot(lower: Path, upper: Path, script: str, log: Path, *, what: str, above: Path | None = None, every_user: bool = False,
              timeout: float = 900) -> None:
    """Run a shell script inside userland *lower*.

    :param upper: gets what the script changes; if it is *lower*'s own parent, the script changes the userland itself
    :param above: another read-only tree over *lower*
    :param every_user: with other users than root to give files to, as packages do
    :raises HostError: the script failed
    """
    itself = upper == lower.parent
    target, work = (lower, upper) if itself else (upper.parent / f".{upper.name}.merged", upper.parent / f".{upper.name}.work")
    for directory in (target, work, upper):
        directory.mkdir(exist_ok=True)
    option = "" if os.geteuid() == 0 else ",userxattr"
    mounts = _BIND if itself else _OVERLAY
    environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"]
    places = [str(target), str(lower), str(above or ""), str(upper.parent), upper.name, option]
    process.run(
        process.in_namespace([*environment, "sh", "-ec", f"{mounts}{_ENTER}", script, *places], every_user=every_user),
        what=what,
        log=log,
        timeout=timeout,
    )


def ext4_image(root: Path, image: Path, log: Path, *, mebibytes: int | None = None, options: Sequence[str] = _READ_ONLY,
               every_user: bool = False) -> None:
    """An ext4 image of the tree *root*; all of it belongs to the guest's root.

    :param mebibytes: its size; by default just large enough
    :param options: mke2fs's, by default those for an image that nobody writes to
    :param every_user: files of other users keep their owners
    :raises HostError:
    :raises OSError: ENOSPC
    """
    counted = subprocess.run(["du", "-s", "--block-size=1M", "--apparent-size", str(root)], capture_output=True, text=True, check=True)
    used = subprocess.run(["du", "-s", "--block-size=1M", str(root)], capture_output=True, text=True, check=True)
    inodes = int(subprocess.run(["du", "-s", "--inodes", str(root)], capture_output=True, text=True, check=True).stdout.split()[0])
    needed = max(int(counted.stdout.split()[0]), int(used.stdout.split()[0]))
    size = mebibytes or needed + inodes // 4096 + needed // 10 + 16
    inodes = max(inodes + inodes // 16 + 1024, size * 32 if mebibytes else 0)
    process.run(
        process.in_namespace(
            ["mke2fs", "-q", "-t", "ext4", *options, "-m", "0", "-N", str(inodes), "-d", str(root), str(image), f"{size}M"],
            every_user=every_user,
        ),
        what=f"making {image.name}",
        log=log,
        timeout=600,
    )  # fmt: skip
