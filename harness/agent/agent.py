"""The agent: process 1 of a guest. Starts processes for the host and carries their streams over one virtio-serial port.

It also is the parent that a template needs: everything slow (imports, BPF programs) is loaded here once, and each Python task is a fork
of it. On a machine that is no guest of ours it is a process like any other, with a pipe each way instead of the port, and leaves nothing
behind when the pipe ends.
"""

from __future__ import annotations

import fcntl
import importlib
import io
import json
import os
import select
import selectors
import shutil
import signal
import struct
import sys
import time
import traceback
import zipfile
from pathlib import Path
from types import ModuleType

from harness.agent import prepare
from harness.agent.child import Child, Spare, start
from harness.errors import NfharnessError, described
from harness.wire import CHUNK, CREDIT, WINDOW, Decoder, Kind, WireFrame, encode

__all__ = ("Agent",)

#: Where this code was unpacked.
_CODE = Path(__file__).parents[2]
_LAST_WORDS_S = 5.0
_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207


class Agent:
    """Serves one host.

    :param reader: file descriptor that its frames come from
    :param writer: and that ours go to: of the virtio-serial port both
    """

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer
        self._hung_up = False
        self._decoder = Decoder()
        self._outgoing = bytearray()
        self._children: dict[int, Child] = {}
        self._archive = bytearray()
        self._spare: Spare | None = None
        self._successor: ModuleType | None = None
        self._selector = selectors.EpollSelector()
        self._wakeup, self._wakeup_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> ModuleType | None:
        """Serve until newer code arrives, and return the agent module to go on with; or until the host hangs up."""
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        self._selector.register(self._reader, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        if prepare.is_prepared():
            # This is newer code, which has taken over in a prepared guest.
            self._spare = Spare.make(close=self._own_descriptors())
            self._send_json(Kind.READY, 0)
        while not self._hung_up and (self._successor is None or self._outgoing):
            self._watch()
            for key, events in self._selector.select():
                self._on_event(key, events)
            self._reap()
        if self._hung_up:
            self._end_all()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        os.close(self._wakeup)
        os.close(self._wakeup_writer)
        return self._successor

    def _watch(self) -> None:
        """Tell the selector what can be used now: no reading of output that may not be sent, no writing of nothing."""
        self._watch_writer()
        room = len(self._outgoing) < 4 * WINDOW
        for child in self._children.values():
            child.watch(self._selector, room=room)

    def _watch_writer(self) -> None:
        writing = selectors.EVENT_WRITE if self._outgoing else 0
        if self._writer == self._reader:
            self._selector.modify(self._reader, selectors.EVENT_READ | writing)
        elif writing and self._writer not in self._selector.get_map():
            self._selector.register(self._writer, writing)
        elif not writing and self._writer in self._selector.get_map():
            self._selector.unregister(self._writer)

    def _on_event(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fd == self._wakeup:
            os.read(self._wakeup, 4096)
        elif key.fd in (self._reader, self._writer):
            if events & selectors.EVENT_WRITE:
                self._flush()
            if events & selectors.EVENT_READ:
                self._receive()
        else:
            child, channel = key.data
            if channel not in child.fds:
                return  # the host hung up, in a frame that was read after this event had been
            if channel == 0:
                written = child.write_pending()
                self.send(Kind.CREDIT, child.stream, CREDIT.pack(0, written))
            else:
                self._forward(child, channel)

    def _forward(self, child: Child, channel: int) -> bool:
        """Send what the child has written; False when there is nothing now."""
        data = child.read(channel, CHUNK)
        if data is None:
            return False
        self.send(Kind.STDOUT if channel == 1 else Kind.STDERR, child.stream, data)
        return bool(data)

    def send(self, kind: Kind, stream: int = 0, payload: bytes = b"") -> None:
        """Queue a frame."""
        self._outgoing += encode(WireFrame(kind, stream, payload))
        self._flush()

    def _send_json(self, kind: Kind, stream: int, **fields: object) -> None:
        self.send(kind, stream, json.dumps(fields).encode())

    def _flush(self) -> None:
        try:
            while self._outgoing:
                written = os.write(self._writer, self._outgoing[: 4 * CHUNK])
                del self._outgoing[:written]
        except BlockingIOError:
            pass
        except OSError:  # EPIPE
            self._hung_up = True

    def _receive(self) -> None:
        try:
            data = os.read(self._reader, 4 * CHUNK)
        except BlockingIOError:
            return
        self._hung_up |= not data
        for frame in self._decoder.feed(data):
            try:
                self._on_frame(frame)
            except NfharnessError as error:
                self._send_json(Kind.FAILED, frame.stream, **described(error))
            except Exception:
                self._send_json(Kind.FAILED, frame.stream, traceback=traceback.format_exc())

    def _on_frame(self, frame: WireFrame) -> None:
        if frame.kind is Kind.WAKE:
            _wake(json.loads(frame.payload))
        elif frame.kind is Kind.CODE:
            self._take_code(frame.payload)
        elif frame.kind is Kind.PLACE:
            self._send_json(Kind.READY, 0, placed=prepare.place(**json.loads(frame.payload)))
        elif frame.kind is Kind.IMPORT:
            self._send_json(Kind.READY, 0, imported=prepare.import_all(**json.loads(frame.payload)))
        elif frame.kind is Kind.PREPARE:
            prepared = prepare.prepare(**json.loads(frame.payload))
            self._spare = Spare.make(close=self._own_descriptors())
            self._send_json(Kind.READY, 0, prepared=prepared)
        elif frame.kind is Kind.PING:
            self.send(Kind.PONG)
        elif frame.kind is Kind.OPEN:
            self._open(frame)
        elif child := self._children.get(frame.stream):
            self._on_child_frame(child, frame)

    def _on_child_frame(self, child: Child, frame: WireFrame) -> None:
        if frame.kind is Kind.STDIN:
            child.feed(frame.payload)
        elif frame.kind is Kind.CREDIT:
            channel, count = CREDIT.unpack(frame.payload)
            child.credit[channel] += count
        elif frame.kind is Kind.SIGNAL:
            child.kill(frame.payload[0])
        elif frame.kind is Kind.RESIZE:
            child.resize(*struct.unpack("!HH", frame.payload))
        elif frame.kind is Kind.HANGUP:
            child.hang_up(self._selector, frame.payload[0])

    def _own_descriptors(self) -> list[int]:
        """What no child may keep."""
        fds = [*{self._reader, self._writer}, self._wakeup, self._wakeup_writer, self._selector.fileno()]
        if self._spare:
            fds += [self._spare.request, *self._spare.fds.values()]
        for child in self._children.values():
            fds += child.fds.values()
        return fds

    def _open(self, frame: WireFrame) -> None:
        request = json.loads(frame.payload)
        try:
            if self._spare and "python" in request and not request.get("terminal"):
                spare, self._spare = self._spare, None
                child = spare.start(frame.stream, request)
            else:
                child = start(frame.stream, request, close=self._own_descriptors())
        except OSError as error:
            self._send_json(Kind.STARTED, frame.stream, errno=error.errno, message=error.strerror)
            return
        self._children[frame.stream] = child
        self._send_json(Kind.STARTED, frame.stream, pid=child.pid)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            for child in self._children.values():
                if child.pid == pid:
                    child.end(status)
        for child in [child for child in self._children.values() if child.status is not None]:
            self._finish(child)

    def _finish(self, child: Child) -> None:
        """Send what an ended child has left in its pipes, then its status. What its own children write later is not waited for."""
        for channel in (1, 2):
            while child.may_read(channel) and len(self._outgoing) < 4 * WINDOW:
                if not self._forward(child, channel):
                    child.drained.add(channel)
                    break
        if not child.is_drained():
            return
        child.close(self._selector)
        del self._children[child.stream]
        assert child.status is not None  # noqa: S101
        code = os.waitstatus_to_exitcode(child.status)
        self._send_json(Kind.EXIT, child.stream, **({"signal": -code} if code < 0 else {"status": code}))

    def _end_all(self) -> None:
        """Nobody is there any more: end every process, which gets a moment to undo what it did, and undo what preparing did."""
        if self._spare:
            self._spare.dismiss()
        for number, deadline in ((signal.SIGINT, time.monotonic() + _LAST_WORDS_S), (signal.SIGKILL, time.monotonic() + 2 * _LAST_WORDS_S)):
            for child in self._children.values():
                child.kill(number)
            while any(child.status is None for child in self._children.values()) and time.monotonic() < deadline:
                select.select([self._wakeup], [], [], deadline - time.monotonic())
                self._reap()
        prepare.undo()

    def _take_code(self, part: bytes) -> None:
        """Unpack a newer code archive and forget what was imported of the older one; the next agent imports it anew."""
        if part:
            self._archive += part
            return
        shutil.rmtree(_CODE)
        zipfile.ZipFile(io.BytesIO(self._archive)).extractall(_CODE)
        kept = {}
        for name in [name for name in sys.modules if name == "harness" or name.startswith("harness.")]:
            kept[name] = sys.modules.pop(name)
        importlib.invalidate_caches()
        try:
            successor = importlib.import_module("harness.agent.agent")
            importlib.import_module("harness.agent.prepare").take_over(kept)
        except Exception:
            sys.modules.update(kept)
            raise
        finally:
            self._archive = bytearray()
        if self._spare:
            self._spare.dismiss()
        self._successor = successor


def _wake(message: dict[str, str]) -> None:
    """Set the clock and make the random number generator forget what every copy of the template knows."""
    time.clock_settime_ns(time.CLOCK_REALTIME, int(message["time_ns"]))
    entropy = bytes.fromhex(message["entropy"])
    with Path("/dev/urandom").open("wb", buffering=0) as device:
        fcntl.ioctl(device, _RNDADDENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(device, _RNDRESEEDCRNG)
