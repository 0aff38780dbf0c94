"""What doctor finds for the local backend: whether this very machine's kernel can be run on and watched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.vm.examine import Finding

__all__ = ("examine_local",)

_HAS = "the kernel that runs needs it: choose another kernel"


def examine_local() -> list[Finding]:
    """Look at everything; no time, no network."""
    release = os.uname().release
    build = f"/lib/modules/{release}/build"
    return [
        _root(),
        _path("BTF", "says how the kernel lays out its structures", "/sys/kernel/btf/vmlinux", f"{_HAS} (CONFIG_DEBUG_INFO_BTF)"),
        _path("kprobes", "watch the hooks", "/sys/kernel/tracing/kprobe_events", "mount -t tracefs tracefs /sys/kernel/tracing"),
        _path("headers", "compile the tracer's program", build, f"apt-get install linux-headers-{release}"),
        _path("BCC", "loads the tracer's program", "/usr/lib/python3/dist-packages/bcc", "apt-get install python3-bpfcc"),
    ]


def _root() -> Finding:
    why = "probes, namespaces and hooks are root's"
    if os.geteuid() == 0:
        return Finding("root", why, "ok", "we are")
    works = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return Finding("root", why, "ok" if works else "missing", "sudo works" if works else "sudo asks for a password", "run it as root")


def _path(name: str, why: str, path: str, mend: str) -> Finding:
    # Only root can look into some of these directories.
    absent = os.access(Path(path).parent, os.X_OK) and not Path(path).exists()
    return Finding(name, why, "missing" if absent else "ok", f"no {path}" if absent else path, mend)
