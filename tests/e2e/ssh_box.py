"""A guest as a machine that ssh reaches: sshd runs in it, and each connection is one of its processes' standard input and output."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.backends.sources import open_guest
from harness.errors import NfharnessError
from harness.host.progress import Progress
from harness.images.kernels import DEFAULT
from harness.vm.channel import Remote, Request
from harness.vm.guest import Guest

__all__ = ("HOST", "box")

HOST = "box"
_READY_S = 600
_BRIDGE = """
import socket, sys, threading
box = socket.socket(socket.AF_UNIX)
box.connect(sys.argv[1])
def there():
    while piece := sys.stdin.buffer.read1():
        box.sendall(piece)
    box.shutdown(socket.SHUT_WR)
threading.Thread(target=there, daemon=True).start()
while piece := box.recv(1 << 16):
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
"""
_SERVER = """HostKey /root/host
AuthorizedKeysFile /root/user.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
"""


@contextmanager
def box(place: Path) -> Iterator[dict[str, str]]:
    """A machine that ssh reaches as ``box``, while the block lasts and its kernel lives; the environment in which ssh knows it.

    :param place: an empty directory
    """
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    (place / "bridge.py").write_text(_BRIDGE)
    (place / "config").write_text(f"""Host {HOST}
ProxyCommand {shlex.join([sys.executable, str(place / "bridge.py"), str(place / "box")])}
User root
IdentityFile {place}/user
IdentitiesOnly yes
UserKnownHostsFile {place}/known
StrictHostKeyChecking accept-new
""")
    (place / "bin").mkdir()
    (place / "bin/ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(place / "config"))} "$@"\n')
    (place / "bin/ssh").chmod(0o755)
    serving = _Serving(place)
    serving.start()
    try:
        assert serving.ready.wait(_READY_S)
        if serving.failed:
            raise serving.failed
        yield {"PATH": f"{place / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"}
    finally:
        serving.end()


class _Serving(threading.Thread):
    """The machine, in an event loop.

    :ivar ready: it takes connections, or failed
    """

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.ready = threading.Event()
        self.failed: BaseException | None = None
        self._place = place
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self.failed = error
        self.ready.set()

    def end(self) -> None:
        """Switch the machine off."""
        if self._loop and self.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self.join()

    async def _serve(self) -> None:
        self._ended, self._loop = asyncio.Event(), asyncio.get_running_loop()
        async with open_guest(DEFAULT, Progress(quiet=True), purpose="bare", with_packages=["openssh-server"]) as opened:
            guest = opened.guest
            for name, content in (("host", (self._place / "host").read_bytes()), ("user.pub", (self._place / "user.pub").read_bytes()),
                                  ("sshd_config", _SERVER.encode())):  # fmt: skip
                await guest.call("harness.guest.files:receive", f"/root/{name}", 0o600, stdin=content)
            await guest.output(Request(argv=["mkdir", "/run/sshd"]))

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with suppress(NfharnessError, OSError):
                    await _connect(guest, reader, writer)
                writer.close()

            server = await asyncio.start_unix_server(connected, self._place / "box")
            self.ready.set()
            guest.death.add_done_callback(lambda _: server.close())
            await self._ended.wait()


async def _connect(guest: Guest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    remote = await guest.open(Request(argv=["/usr/sbin/sshd", "-i", "-e", "-f", "/root/sshd_config"]))
    feeding = asyncio.create_task(_feed(remote, reader))
    try:
        while piece := await remote.read():
            if piece[0] == 1:
                writer.write(piece[1])
                await writer.drain()
    finally:
        feeding.cancel()


async def _feed(remote: Remote, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(1 << 15):
        await remote.write(data)
    await remote.end_input()
