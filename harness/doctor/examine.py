"""What doctor finds: the requirements of :mod:`harness.requirements`, and what only shows on a closer look."""

from __future__ import annotations

import resource
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.doctor import inventory
from harness.errors import HostError, NfharnessError
from harness.host.paths import cache_dir, copies_dir
from harness.host.store import altered, has_checksums, is_writable
from harness.images import archive, config, kernel_tree, treecopy
from harness.images.kernel_build import has_ccache
from harness.images.kernels import catalogue_at_hand
from harness.images.layers import trees_here
from harness.images.toolchain import host_toolchain
from harness.images.userland import userland_path
from harness.requirements import build_requirements, missing_packages, requirements
from harness.vm import acceleration
from harness.vm.qemu import qemu_version, reads_sealed_ram

__all__ = ("Finding", "examine")

_NEEDED_GIB = 4
_GUEST_MIB = 1024
#: What QEMU maps beside a guest's memory when it emulates: program, libraries, the cache of translated code.
_QEMU_MIB = 700


@dataclass(frozen=True, slots=True)
class Finding:
    """One requirement.

    :param state: "slow" is no obstacle
    """

    name: str
    why: str
    state: Literal["ok", "slow", "missing"]
    found: str
    hint: str = ""


def examine(kernel: str | None = None, *, deep: bool = False) -> list[Finding]:
    """Look at everything; a second or less, and no network.

    :param kernel: a developer's tree to look at as well; else those that have been used are
    :param deep: also read all of the cache, and compare it with the checksums of what was written; a second for some gigabytes
    """
    found = [
        Finding(one.name, one.why, "ok" if one.found else "missing", one.found or "not found",
                one.hint or f"apt-get install {one.package}")
        for one in requirements()
    ]  # fmt: skip
    return [*found, *_qemu(), _acceleration(), _memory(), _address_space(), _disk(), _kernels(), _userland(), _building(), *_trees(kernel),
            *(_contents() if deep else ())]  # fmt: skip


def _qemu() -> list[Finding]:
    try:
        version = qemu_version()
    except HostError:
        return []
    old = int(version.split(".")[0]) < 7
    hint = "install QEMU 7.2 or later: templates need its x-ignore-shared migration"
    return [Finding("QEMU's version", "saves and restores templates", "missing" if old else "ok", version, hint)]


def _acceleration() -> Finding:
    why = "guests run ten times faster with it"
    try:
        proof = acceleration.remembered()
    except HostError as error:
        return Finding("KVM", why, "slow", error.message, error.hint or "")
    if proof is None:
        return Finding("KVM", why, "slow", "not tried yet; the first guest tries it by booting a kernel")
    if proof["accelerator"] == "kvm":
        return Finding("KVM", why, "ok", proof["why"])
    return Finding("KVM", why, "slow", proof["why"], "a host with working virtualisation; everything works without, emulated")


def _memory() -> Finding:
    with open("/proc/meminfo") as file:  # noqa: PTH123
        available = next(int(line.split()[1]) >> 10 for line in file if line.startswith("MemAvailable:"))
    why = f"a guest has {_GUEST_MIB} MiB, of which it shares what its template holds"
    return Finding("memory", why, "ok" if available > _GUEST_MIB else "missing", f"{available} MiB available", "end something")


def _address_space() -> Finding:
    """What a process may map (``RLIMIT_AS``): of all limits the one that QEMU meets."""
    limit, needed = resource.getrlimit(resource.RLIMIT_AS)[0], _GUEST_MIB + _QEMU_MIB
    why, hint = f"QEMU maps up to {needed} MiB", "raise the limit: ulimit -v unlimited"
    if limit == resource.RLIM_INFINITY:
        return Finding("address space", why, "ok", "unlimited")
    return Finding("address space", why, "ok" if limit >= needed << 20 else "missing", f"limited to {limit >> 20} MiB", hint)


def _disk() -> Finding:
    place = cache_dir()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    writable = is_writable(place)
    if not writable and any((cache_dir() / "templates").glob("[!.]*/ram")):
        how = "QEMU opens their RAM read-only" if reads_sealed_ram() else f"with copies of their RAM under {copies_dir()}"
        return Finding("disk", "holds templates", "ok", f"{cache_dir()} cannot be written: its templates are used, {how}")
    enough = free >= _NEEDED_GIB or userland_path().is_dir()
    found = f"{free:.1f} GiB free under {cache_dir()}" + ("" if writable else ", which cannot be written")
    why, hint = f"userland, kernels and templates take about {_NEEDED_GIB} GiB", "make room, or point NFHARNESS_CACHE at another disk"
    return Finding("disk", why, "ok" if enough and writable else "missing", found, hint)


def _kernels() -> Finding:
    known, why = catalogue_at_hand(), "says what can be had"
    if not known:
        return Finding("list of kernels", why, "slow", f"not fetched yet; will come from {archive.mirror()[0]}", "nfharness kernels")
    age = "" if archive.is_fresh() else ", older than a day"
    return Finding("list of kernels", why, "ok", f"{len(known)} builds{age}")


def _userland() -> Finding:
    built = userland_path().is_dir()
    found = str(userland_path()) if built else "not built yet; the first command that needs it does that in about a minute"
    return Finding("userland", "root file system of every guest", "ok" if built else "slow", found, "nfharness image build")


def _building() -> Finding:
    """No obstacle to anything else."""
    name, why, found = "compiler and kbuild's tools", "nfharness kernel build", build_requirements()
    lacking = ", ".join(one.name for one in found if not one.found)
    if lacking:
        return Finding(name, why, "slow", f"not found: {lacking}", f"apt-get install {' '.join(missing_packages(found))}")
    return Finding(name, why, "ok", "there, and ccache" if has_ccache() else "there; ccache would make builds quicker")


def _contents() -> list[Finding]:
    """One that is altered each, or one for all."""
    name, why = "contents of the cache", "a bit that flips there looks like a kernel's bug"
    places = [item.path for item in inventory.items() if not item.path.name.startswith(".") and item.kind != "built kernel"]
    found = [file for place in places for file in altered(place)]
    if not found:
        summed = sum(has_checksums(place) for place in places)
        rest = f"; {len(places) - summed} older ones have no checksums" if summed < len(places) else ""
        return [Finding(name, why, "ok", f"{summed} entries are as they were written{rest}")]
    message, hint = "is damaged: its content is not what was written", "it is built anew once it is gone: rm -r"
    return [Finding(name, why, "missing", f"{file} {message}", f"{hint} {shlex.quote(str(file.parent))}") for file in found]


def _trees(kernel: str | None) -> list[Finding]:
    """One that is not asked for is no obstacle, whatever state it is in."""
    if kernel is not None:
        return [_tree(kernel)]
    used = [_tree(one.tree) for one in trees_here() if Path(one.tree).is_dir()]
    return [replace(one, state="slow") if one.state == "missing" else one for one in used]


def _tree(spec: str) -> Finding:
    name, why = f"kernel {spec}", "a developer's own, for --kernel"
    try:
        found = kernel_tree.read(spec)
        treecopy.check_options(found)
        toolchain = host_toolchain(found.options)
    except NfharnessError as error:
        return Finding(name, why, "missing", error.message, error.hint or "")
    compiler = toolchain.compiler if toolchain else f"the userland's gcc (no {found.options.get('CC_VERSION_TEXT')} here)"
    said = [f"{found.release}, boots {found.image.name}, modules with {compiler}", *found.doubts()]
    unchecked = config.wished(found.options)
    if unchecked:
        said.append(f"not checked on it: {', '.join(f'{what} ({name})' for name, what in unchecked.items())}")
    return Finding(name, why, "ok" if len(said) == 1 else "slow", "; ".join(said), found.merge() if unchecked else "")
