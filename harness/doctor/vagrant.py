"""What doctor finds for the Vagrant backend: Vagrant, a provider, what the provider needs, and what builds the box."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from harness.doctor.examine import Finding
from harness.host import process

__all__ = ("examine_vagrant", "libvirtd")

#: Provider → what brings its plugin, in the order in which the Vagrantfile prefers them.
_HINTS = {"libvirt": "apt-get install vagrant-libvirt", "qemu": "vagrant plugin install vagrant-qemu"}
_START = "systemctl start libvirtd, or where there is no systemd: virtlogd -d; libvirtd -d"
_RESTART = "systemctl restart libvirtd, and see what it says: journalctl -u libvirtd"
_SOCKET = Path("/var/run/libvirt/libvirt-sock")
_ALL = "apt-get install vagrant vagrant-libvirt libvirt-daemon-system dnsmasq-base"
#: Where a user's PATH does not lead.
_SBIN = "/usr/sbin:/sbin"
_DEADLINE_S = 60


def examine_vagrant(provider: str | None = None) -> list[Finding]:
    """Look at everything; a few seconds, most of them Vagrant's, and no network.

    :param provider: whose needs to look at; else those of the one that ``vagrant up`` takes
    """
    return [
        *_vagrant(provider),
        _program("qemu-img", "packs the box", "qemu-utils"),
        _program("rsync", "syncs the tree", "rsync"),
        _program("ssh", "reaches the machine", "openssh-client"),
    ]


def _vagrant(provider: str | None) -> Iterator[Finding]:
    why = "starts and stops the machine"
    if not shutil.which("vagrant"):
        yield Finding("vagrant", why, "missing", "not found", _ALL)
        yield from _libvirt()
        return
    version = re.search(r"\d\S*", _said("--version"))
    yield Finding("vagrant", why, "ok", version[0] if version else "does not say its version")
    plugins = dict(re.findall(r"^vagrant-(libvirt|qemu) \((\S+?)[,)]", _said("plugin", "list"), re.MULTILINE))
    provider = provider or _provider(plugins)
    if provider == "virtualbox":
        yield _virtualbox()
    elif provider not in _HINTS:
        yield Finding("Vagrant's provider", "runs the machine", "missing", f"there is no box for {provider}",
                      "unset VAGRANT_DEFAULT_PROVIDER")  # fmt: skip
    else:
        version = plugins.get(provider)
        yield Finding("Vagrant's provider", "lets Vagrant run QEMU", "ok" if version else "missing",
                      f"vagrant-{provider} {version}" if version else f"no plugin vagrant-{provider}", _HINTS[provider])  # fmt: skip
    if provider == "libvirt":
        yield from _libvirt()


def _provider(plugins: Collection[str]) -> str:
    """Which provider ``vagrant up`` takes: what it is told, else the Vagrantfile's first that is there."""
    asked = os.environ.get("VAGRANT_DEFAULT_PROVIDER")
    there = [name for name in _HINTS if name in plugins] or (["virtualbox"] if shutil.which("VBoxManage") else [])
    return asked or (there or ["libvirt"])[0]


def _virtualbox() -> Finding:
    found = shutil.which("VBoxManage")
    return Finding("VirtualBox", "runs the machine", "ok" if found else "missing", found or "VBoxManage is not in the PATH",
                   "install VirtualBox; or vagrant-libvirt, and unset VAGRANT_DEFAULT_PROVIDER")  # fmt: skip


def _libvirt() -> Iterator[Finding]:
    yield libvirtd()
    yield _program("dnsmasq", "gives the machine its address", "dnsmasq-base")


def _said(*arguments: str) -> str:
    """What Vagrant prints, without reading any Vagrantfile."""
    environment = {**os.environ, "VAGRANT_CWD": "/", "VAGRANT_CHECKPOINT_DISABLE": "1"}
    try:
        return process.captured(["vagrant", *arguments], _DEADLINE_S, env=environment, cwd="/").stdout
    except OSError:
        return ""


def libvirtd() -> Finding:
    """Whether its daemon lets us in."""
    why = "owns machines, volumes and networks, for vagrant-libvirt"
    if not (shutil.which("virsh") and any(shutil.which(name, path=_SBIN) for name in ("libvirtd", "virtqemud"))):
        return Finding("libvirtd", why, "missing", "not installed", _ALL)
    try:
        done = process.captured(["virsh", "--connect", "qemu:///system", "uri"], _DEADLINE_S)
    except TimeoutError as late:
        return Finding("libvirtd", why, "missing", f"does not answer {late}", _RESTART)
    if not done.returncode:
        return Finding("libvirtd", why, "ok", f"answers as {done.stdout.strip()}")
    refusal = (done.stderr.strip().splitlines() or ["it does not say why"])[-1].removeprefix("error: ")
    try:
        # A user who may connect may still be refused, by polkit.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(_SOCKET))
    except PermissionError:
        pass
    except OSError:
        return Finding("libvirtd", why, "missing", f"not running: {refusal}", _START)
    if os.geteuid() == 0:
        return Finding("libvirtd", why, "missing", refusal, _RESTART)
    hint = f"sudo usermod --append --groups libvirt {getpass.getuser()}, then log in again"
    return Finding("libvirtd", why, "missing", f"lets root and the group libvirt in: {refusal}", hint)


def _program(name: str, why: str, package: str) -> Finding:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    return Finding(name, why, "ok" if found else "missing", found or "not found", f"apt-get install {package}")
