"""Process 1 of a guest: mounts the rest, waits for the project's code on the virtio port, and becomes the agent.

It is part of every kernel's layer, so it is kept too small to need a change. Called with ``mount`` it only mounts: a Vagrant box has
another process 1. Called with ``session`` it becomes the agent of a machine that was there before it, with standard input and output for
a port, and is gone with them.
"""

import ctypes
import io
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType

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
        part = os.read(port, count - len(data))
        if not part:
            raise SystemExit("nfharness: no code came")
        data += part
    return bytes(data)


def become_agent(reader: int, writer: int, code: str) -> None:
    """Take the project's code and serve with it, and with whatever replaces it."""
    os.write(writer, b"nfharness stage0\n")
    archive = receive(reader, int.from_bytes(receive(reader, 8), "big"))
    Path(code).mkdir(parents=True, exist_ok=True)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(code)
    sys.path.insert(0, code)
    from harness.agent import agent  # noqa: PLC0415

    serving: ModuleType | None = agent
    while serving:
        serving = serving.Agent(reader, writer).serve()


def session() -> None:
    """Serve standard input and output, which are nobody else's then."""
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    code = tempfile.mkdtemp(prefix="nfharness-", dir="/run")
    try:
        become_agent(reader, writer, code)
    finally:
        shutil.rmtree(code)


def main() -> None:
    """Boot, then hand over."""
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if sys.argv[1:] == ["session"]:
        session()
        return
    mount_all()
    if sys.argv[1:] == ["mount"]:
        return
    os.environ.update(HOME="/root", LANG="C.UTF-8", TERM="dumb")
    Path("/proc/sys/kernel/hostname").write_text("guest")
    port = open_port()
    become_agent(port, port, CODE)


main()
