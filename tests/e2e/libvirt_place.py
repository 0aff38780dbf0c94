"""libvirt for one test, in its own namespaces: processes, networks, firewall rules and mounts are gone with its first process.

Run as the first process of new mount, network and process namespaces; says "ready" once libvirtd answers.

:param 1: directory that takes the place of libvirt's own under /var and /etc
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

_SOCKET = Path("/run/libvirt/libvirt-sock")
_DEADLINE_S = 60


def main() -> None:
    for command in (["umount", "-R", "-l", "/sys"],  # a machine needs no cgroup, and leaves none then
                    ["mount", "-t", "sysfs", "sysfs", "/sys"], ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"],
                    ["ip", "link", "set", "lo", "up"]):  # fmt: skip
        subprocess.run(command, check=True)
    for name in ("lib", "log", "cache"):
        own = Path(sys.argv[1], name)
        own.mkdir(parents=True)
        own.chmod(0o755)
        subprocess.run(["mount", "--bind", str(own), f"/var/{name}/libvirt"], check=True)
    # What is defined for good is written there.
    configuration = Path(sys.argv[1], "etc")
    shutil.copytree("/etc/libvirt", configuration, ignore=shutil.ignore_patterns("qemu", "storage"))
    subprocess.run(["mount", "--bind", str(configuration), "/etc/libvirt"], check=True)
    for daemon in ("virtlogd", "libvirtd"):
        subprocess.Popen([daemon], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + _DEADLINE_S
    while not _SOCKET.exists():
        if time.monotonic() > end:
            raise SystemExit(f"libvirtd did not answer within {_DEADLINE_S} s")
        time.sleep(0.05)
    # libvirt looks at QEMU first, and waits for each probe until its parent has taken notice of its end: as first process that is us.
    looking = subprocess.Popen(["virsh", "capabilities"], stdout=subprocess.DEVNULL)
    while True:
        pid, status = os.wait()
        if pid == looking.pid:
            print("ready" if status == 0 else "virsh capabilities failed", flush=True)


if __name__ == "__main__":
    main()
