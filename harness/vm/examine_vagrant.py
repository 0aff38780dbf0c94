"""What doctor finds for the Vagrant backend: Vagrant, a provider, what the provider needs, and what builds the box."""

from __future__ import annotations

import errno
import getpass
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.vm.examine import Finding

__all__ = ("examine_vagrant", "libvirtd")

_SOCKET = Path("/var/run/libvirt/libvirt-sock")
_ALL = "apt-get install vagrant vagrant-libvirt libvirt-daemon-system dnsmasq-base"
#: Where a user's PATH does not lead.
_SBIN = "/usr/sbin:/sbin"
_DEADLINE_S = 60


def examine_vagrant() -> list[Finding]:
    """Look at everything; a few seconds, most of them Vagrant's, and no network."""
    return [
        *_vagrant(),
        _program("qemu-img", "packs the box", "qemu-utils"),
        _program("rsync", "syncs the tree", "rsync"),
        _program("ssh", "reaches the machine", "openssh-client"),
    ]


def _vagrant() -> Iterator[Finding]:
    why = "starts and stops the machine"
    if not shutil.which("vagrant"):
        yield Finding("vagrant", why, "missing", "not found", _ALL)
        yield from _libvirt()
        return
    version = re.search(r"\d\S*", _said("--version"))
    yield Finding("vagrant", why, "ok", version[0] if version else "does not say its version")
    found = dict(re.findall(r"^(vagrant-(?:libvirt|qemu)) \((\S+?)[,)]", _said("plugin", "list"), re.MULTILINE))
    why = "lets Vagrant run QEMU"
    if not found:
        yield Finding("Vagrant's provider", why, "missing", "neither vagrant-libvirt nor vagrant-qemu", "apt-get install vagrant-libvirt")
    else:
        yield Finding("Vagrant's provider", why, "ok", ", ".join(f"{name} {version}" for name, version in found.items()))
    if "vagrant-libvirt" in found or not found:
        yield from _libvirt()


def _libvirt() -> Iterator[Finding]:
    yield libvirtd()
    yield _program("dnsmasq", "gives the machine its address", "dnsmasq-base")


def _said(*arguments: str) -> str:
    """What Vagrant prints, without reading any Vagrantfile."""
    environment = {**os.environ, "VAGRANT_CWD": "/", "VAGRANT_CHECKPOINT_DISABLE": "1"}
    try:
        return subprocess.run(["vagrant", *arguments], env=environment, cwd="/", capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=_DEADLINE_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def libvirtd() -> Finding:
    """Whether its daemon answers us."""
    why = "owns machines, volumes and networks, for vagrant-libvirt"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(_SOCKET))
    except OSError as error:
        if error.errno == errno.EACCES:
            mend = f"sudo usermod --append --groups libvirt {getpass.getuser()}, then log in again"
            return Finding("libvirtd", why, "missing", f"no permission to connect to {_SOCKET}", mend)
        installed = any(shutil.which(name, path=_SBIN) for name in ("libvirtd", "virtqemud"))
        mend = "systemctl start libvirtd, or where there is no systemd: virtlogd -d; libvirtd -d" if installed else _ALL
        return Finding("libvirtd", why, "missing", f"not running ({_SOCKET}: {error.strerror})" if installed else "not installed", mend)
    return Finding("libvirtd", why, "ok", f"answers on {_SOCKET}")


def _program(name: str, why: str, package: str) -> Finding:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    return Finding(name, why, "ok" if found else "missing", found or "not found", f"apt-get install {package}")
