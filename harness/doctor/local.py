"""What doctor finds for the local backend: whether this very machine's kernel can be run on and watched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.backends.local import DIST_PACKAGES, local_module
from harness.doctor.examine import Finding
from harness.errors import GuestError

__all__ = ("examine_local", "lacking_capabilities")

#: Where tracefs is mounted, or is found in debugfs.
_TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_HAS = "the kernel that runs needs it: choose another kernel"
#: Capability → its number in linux/capability.h.
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_MODULE": 16, "CAP_SYS_RAWIO": 17, "CAP_SYS_ADMIN": 21}
#: Python package → what it is for, and what brings it.
_PACKAGES = {
    "bcc": ("loads the tracer's program", "apt-get install python3-bpfcc"),
    "capstone": ("finds the places of probes", "pip install capstone"),
    "pyroute2": ("sets up namespaces, devices, addresses", "pip install pyroute2"),
    "scapy": ("builds and reads packets", "pip install scapy"),
    "pytest": ("runs tests", "pip install pytest"),
    "hypothesis": ("draws scenarios", "pip install hypothesis"),
}
_SWITCH = "/sys/kernel/debug/kprobes/enabled"
_LOOK = """
import importlib, sys
sys.path.append(sys.argv[1])
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
        print(name)
    except Exception as error:
        print(name, type(error).__name__, error)
"""


def examine_local() -> list[Finding]:
    """Look at everything; a second, and no network. The kernel is left as it is."""
    release = os.uname().release
    build = f"/lib/modules/{release}/build"
    debugfs = _path("debugfs", "lets warnings that come once a boot come again", "/sys/kernel/debug/clear_warn_once",
                    "mount -t debugfs debugfs /sys/kernel/debug")  # fmt: skip
    return [
        _root(),
        _path("BTF", "says how the kernel lays out its structures", "/sys/kernel/btf/vmlinux", f"{_HAS} (CONFIG_DEBUG_INFO_BTF)"),
        _path("tracefs", "is where kprobes are defined", f"{_tracefs()}/README", "mount -t tracefs tracefs /sys/kernel/tracing"),
        _path("kprobes", "watch the hooks", f"{_tracefs()}/kprobe_events", f"{_HAS} (CONFIG_KPROBE_EVENTS), with tracefs mounted"),
        _setting("kprobes' switch", "lets kprobes fire", _SWITCH, "1", f"echo 1 > {_SWITCH}"),
        replace(debugfs, state="slow") if debugfs.state == "missing" else debugfs,
        _path("perf events", "call the tracer's program", "/proc/sys/kernel/perf_event_paranoid", f"{_HAS} (CONFIG_PERF_EVENTS)"),
        _path("BPF", "runs the tracer's program", "/proc/sys/kernel/unprivileged_bpf_disabled", f"{_HAS} (CONFIG_BPF_SYSCALL)"),
        _path("kallsyms", "names the kernel's functions", "/proc/kallsyms", f"{_HAS} (CONFIG_KALLSYMS)"),
        _path("kcore", "shows the kernel's instructions", "/proc/kcore", f"{_HAS} (CONFIG_PROC_KCORE)"),
        _path("headers", "compile the tracer's program", build, f"apt-get install linux-headers-{release}"),
        _path("modules", "bring nfharness.ko", "/proc/modules", f"{_HAS} (CONFIG_MODULES)"),
        _setting("modules' lock", "keeps nfharness.ko out", "/proc/sys/kernel/modules_disabled", "0", "boot anew: it cannot be undone"),
        _setting("lockdown", "forbids kprobes and kcore where it is on", "/sys/kernel/security/lockdown", "[none]",
                 "boot without Secure Boot or lockdown="),
        _setting("signed modules", "refuse nfharness.ko where they are enforced", "/sys/module/module/parameters/sig_enforce", "N",
                 "boot without module.sig_enforce"),
        _module(release),
        *_packages(),
    ]  # fmt: skip


def _tracefs() -> Path:
    return next((root for root in _TRACEFS if (root / "README").exists()), _TRACEFS[0])


def _root() -> Finding:
    why = "probes, namespaces and hooks are root's"
    if os.geteuid() != 0:
        works = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
        return Finding("root", why, "ok" if works else "missing", "sudo works" if works else "sudo asks for a password", "run it as root")
    lacking = lacking_capabilities(Path("/proc/self/status").read_text())
    hint = "run it where root has them: not in a container, or in one with docker run --privileged"
    return Finding("root", why, "missing" if lacking else "ok", f"we are, without {', '.join(lacking)}" if lacking else "we are", hint)


def lacking_capabilities(status: str) -> list[str]:
    """Capabilities that a process needs and has not got.

    :param status: ``/proc/PID/status``
    """
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    has = int(found[1], 16) if found else 0
    return [name for name, number in _CAPABILITIES.items() if not has >> number & 1]


def _path(name: str, why: str, path: str, hint: str) -> Finding:
    if _is_hidden(path):
        return Finding(name, why, "slow", f"only root can look into {Path(path).parent}", "run doctor as root to see")
    there = Path(path).exists()
    return Finding(name, why, "ok" if there else "missing", path if there else f"no {path}", hint)


def _setting(name: str, why: str, path: str, wanted: str, hint: str) -> Finding:
    """A file that must say *wanted* if there is one: kernels without have no such obstacle."""
    if _is_hidden(path):
        return Finding(name, why, "slow", f"only root can look into {Path(path).parent}", "run doctor as root to see")
    try:
        said = Path(path).read_text().strip()
    except OSError:
        return Finding(name, why, "ok", f"no {path}")
    return Finding(name, why, "ok" if wanted in said.split() else "missing", f"{path}: {said}", hint)


def _is_hidden(path: str) -> bool:
    return any(parent.is_dir() and not os.access(parent, os.X_OK) for parent in reversed(Path(path).parents))


def _module(release: str) -> Finding:
    name, why = "nfharness.ko", "registers hooks, for this kernel; trace does without"
    try:
        return Finding(name, why, "ok", str(local_module(release)))
    except GuestError as error:
        return Finding(name, why, "missing", error.message, error.hint or "")


def _packages() -> Iterator[Finding]:
    """Imported, by the Python that will do it: one that is there may yet lack a library."""
    command = [sys.executable, "-I", "-B", "-c", _LOOK, DIST_PACKAGES, *_PACKAGES]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    for name, line in zip(_PACKAGES, said, strict=False):
        why, hint = _PACKAGES[name]
        failed = line.partition(" ")[2]
        yield Finding(f"Python's {name}", why, "missing" if failed else "ok", failed or "can be imported", hint)
