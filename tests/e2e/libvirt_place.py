"""libvirt for one test, in namespaces of its own: processes, networks, firewall rules and mounts are gone with its first process.

Run as the first process of new mount, network and process namespaces; says "ready" once libvirtd answers.

:param 1: directory that takes the place of libvirt's own under /var
"""

from __future__ import annotations

import os
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
    for daemon in ("virtlogd", "libvirtd"):
        subprocess.Popen([daemon], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + _DEADLINE_S
    while not _SOCKET.exists():
        if time.monotonic() > end:
            raise SystemExit(f"libvirtd did not answer within {_DEADLINE_S} s")
        time.sleep(0.05)
    subprocess.run(["virsh", "capabilities"], stdout=subprocess.DEVNULL, check=True)
    print("ready", flush=True)
    while True:  # the first process is the parent of orphans: libvirt's probes of QEMU are such, and waited for until they are gone
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()
