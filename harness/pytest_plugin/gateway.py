"""One guest as an execnet gateway: ``nfharness exec`` gives it a process whose standard streams execnet talks over."""

from __future__ import annotations

import os
import queue
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import execnet

from harness.vm import console, ending, process
from harness.vm.ending import Ending

__all__ = ("Gateway", "Lost")

_GONE = object()
_SERVE = "from harness.pytest_plugin.guest import serve; serve(channel)"
_QUIT_S, _DIAGNOSIS_S = 1.0, 15.0


class Lost(Exception):
    """The guest is gone, or has been given up.

    :ivar reason: one line
    :ivar console: the end of its console
    :ivar said: the end of what its processes wrote to standard error
    """

    def __init__(self, reason: str, ending: Ending | None, said: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.console = ending.console if ending else ""
        self.console_file = ending.console_file if ending else ""
        self.said = said


class Gateway:
    """A guest of kernel *spec*.

    :param backend: as ``nfharness exec`` has it
    :param bare: so is this
    :raises Lost: it does not come up
    """

    def __init__(self, spec: str, backend: str, *, bare: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="nfharness-")
        self._record, self._stderr = (Path(self._directory.name) / name for name in ("ending.json", "stderr"))
        self._group = execnet.Group(execmodel="thread")
        self._channel: execnet.Channel
        self._events: queue.Queue[Any]
        command = [sys.executable, "-P", "-m", "harness", "exec", "--kernel", spec, "--backend", backend,
                   "--record", str(self._record), *(["--bare"] if bare else []), "--python", "--"]
        # In a session of its own: Ctrl-C is for pytest, which then ends this. The kernel ends it with us in any case.
        bound = process.bound(["setsid", "sh", "-c", 'exec "$@" 2>"$0"', str(self._stderr), *command])
        try:
            self._gateway = self._group.makegateway(f"popen//execmodel=main_thread_only//python={shlex.join(bound)}")
        except (OSError, EOFError):
            raise self._lost("its gateway did not start") from None
        self._process: subprocess.Popen[bytes] = self._gateway._io.popen  # type: ignore[attr-defined]
        if self._process.poll() is not None:
            raise self._lost("it did not start")

    def open(self, order: dict[str, Any], session: tuple[Any, ...]) -> None:
        """Start an xdist worker. :param order: for :func:`harness.pytest_plugin.guest.serve`; :param session: what xdist's worker reads"""
        try:
            self._channel = self._gateway.remote_exec(_SERVE)
            self._channel.send(order)
            self._channel.send(session)
        except OSError:
            raise self._lost("it died") from None
        self._events = queue.Queue()
        self._channel.setcallback(self._events.put, endmarker=_GONE)

    def send(self, command: str, **arguments: Any) -> None:
        """A command of xdist's controller to its worker."""
        try:
            self._channel.send((command, arguments))
        except OSError:
            raise self._lost("it died") from None

    def event(self, deadline: float, awaited: str) -> tuple[str, dict[str, Any]] | None:
        """The worker's next event; ``None`` when it has ended.

        :param deadline: on the clock of ``time.monotonic()``
        :raises Lost: the guest died, its worker ended over something, or the deadline passed
        """
        try:
            event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self._give_up()
            raise self._lost(f"it hung: {awaited} took too long", sure=True) from None
        if event is not _GONE:
            name, arguments = event
            return str(name), dict(arguments)
        if self._process.poll() is None:
            try:
                self._channel.waitclose(1)
            except self._channel.RemoteError as error:
                raise self._lost(f"its worker failed: {str(error).strip().splitlines()[-1]}") from None
            except (OSError, EOFError):
                self._await_end()
                raise self._lost("it died") from None
            return None
        raise self._lost("it died")

    def _give_up(self) -> None:
        """Let Python say where it is and the kernel what its tasks wait for; then end the guest."""
        for seconds in (_QUIT_S, 0.05, _DIAGNOSIS_S):
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGQUIT)
                self._await_end(seconds)

    def _await_end(self, seconds: float = 10) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _lost(self, what: str, *, sure: bool = False) -> Lost:
        """:param sure: that is what happened, whatever the guest ended with"""
        process = getattr(self, "_process", None)
        if process is not None:
            self._await_end(5)
        known = ending.read(self._record)
        said = self._stderr.read_text(errors="replace")[-16384:] if self._stderr.exists() else ""
        if sure:
            pass
        elif known and known.died:
            what = known.died
        elif known and known.status:
            how = f"signal {known.status - 128}" if known.status > 128 else f"exit status {known.status}"
            why = console.reason(known.console)
            what = f"the worker in the guest ended ({how})" + (f": {why}" if why else "")
        elif errors := [line for line in said.splitlines() if line.startswith("nfharness: error: ")]:
            what = errors[-1].removeprefix("nfharness: error: ")
        self.close()
        return Lost(what, known, said)

    def close(self) -> None:
        """End the guest."""
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.kill()
        self._group.terminate(timeout=1)
        self._directory.cleanup()
