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

__all__ = ("examine_vagrant",)

_SOCKET = Path("/var/run/libvirt/libvirt-sock")
_ALL = "apt-get install vagrant vagrant-libvirt libvirt-daemon-system dnsmasq-base"
_DEADLINE_S = 60


def examine_vagrant() -> list[Finding]:
    """Look at everything; a few seconds, most of them Vagrant's, and no network."""
    return [*_vagrant(), *_programs()]


def _vagrant() -> Iterator[Finding]:
    why = "starts and stops the machine"
    if not shutil.which("vagrant"):
        yield Finding("vagrant", why, "missing", "not found", _ALL)
        yield _libvirtd()
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
        yield _libvirtd()


def _said(*arguments: str) -> str:
    """What Vagrant prints, without reading any Vagrantfile."""
    environment = {**os.environ, "VAGRANT_CWD": "/", "VAGRANT_CHECKPOINT_DISABLE": "1"}
    try:
        return subprocess.run(["vagrant", *arguments], env=environment, cwd="/", capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=_DEADLINE_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _libvirtd() -> Finding:
    why = "owns machines, volumes and networks, for vagrant-libvirt"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(_SOCKET))
    except OSError as error:
        if error.errno == errno.EACCES:
            mend = f"sudo usermod --append --groups libvirt {getpass.getuser()}, then log in again"
            return Finding("libvirtd", why, "missing", f"no permission to connect to {_SOCKET}", mend)
        installed = any(shutil.which(name, path="/usr/sbin:/sbin") for name in ("libvirtd", "virtqemud"))
        mend = "systemctl start libvirtd, or where there is no systemd: virtlogd -d; libvirtd -d" if installed else _ALL
        return Finding("libvirtd", why, "missing", f"not running ({_SOCKET}: {error.strerror})" if installed else "not installed", mend)
    return Finding("libvirtd", why, "ok", f"answers on {_SOCKET}")


def _programs() -> Iterator[Finding]:
    for name, why, package in (
        ("qemu-img", "packs the box", "qemu-utils"),
        ("dnsmasq", "gives the machine its address", "dnsmasq-base"),
        ("rsync", "syncs the tree", "rsync"),
        ("ssh", "reaches the machine", "openssh-client"),
    ):
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        yield Finding(name, why, "ok" if found else "missing", found or "not found", f"apt-get install {package}")
