"""Process 1 of a guest: mounts the rest, waits for the project's code on the virtio port, and becomes the agent.

It is part of every kernel's layer, so it is kept too small to need a change.
"""

import ctypes
import io
import os
import sys
import zipfile
from pathlib import Path

CODE = "/run/nfharness/code"
MOUNTS = (
    ("tmpfs", "/run", "mode=755"),
    ("devpts", "/dev/pts", "ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),  # noqa: S108
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("bpf", "/sys/fs/bpf", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
)


def mount_all() -> None:
    """Mount what a Linux program expects; what a kernel does not have is left out."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, where, options in MOUNTS:
        try:
            Path(where).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        libc.mount(kind.encode(), where.encode(), kind.encode(), 0, options.encode())
    for link, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")):
        if not os.path.lexists(f"/dev/{link}") or link == "ptmx":
            Path(f"/dev/{link}").unlink(missing_ok=True)
            Path(f"/dev/{link}").symlink_to(target)


def open_port() -> int:
    """The virtio-serial port that is called ``nfharness``."""
    for name in Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == "nfharness":
            return os.open(f"/dev/{name.parent.name}", os.O_RDWR | os.O_CLOEXEC)
    raise SystemExit("nfharness: no virtio port")


def receive(port: int, count: int) -> bytes:
    """Exactly *count* bytes."""
    data = bytearray()
    while len(data) < count:
        data += os.read(port, count - len(data))
    return bytes(data)


def main() -> None:
    """Boot, then hand over."""
    os.environ.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8", TERM="dumb")
    mount_all()
    Path("/proc/sys/kernel/hostname").write_text("guest")
    port = open_port()
    os.write(port, b"nfharness stage0\n")
    archive = receive(port, int.from_bytes(receive(port, 8), "big"))
    Path(CODE).mkdir(parents=True)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(CODE)
    sys.path.insert(0, CODE)
    from harness.guest import agent  # noqa: PLC0415

    while True:
        agent = agent.Agent(port).serve()


main()
