"""One guest as an execnet gateway: ``nfharness exec`` gives it a process whose standard streams execnet talks over."""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import execnet

from harness.backends.names import has_its_kernel
from harness.host import process
from harness.host.deadlines import Deadline
from harness.host.scratch import scratch
from harness.pytest_plugin.live import Live
from harness.vm import console, ending
from harness.vm.ending import Ending

__all__ = ("SHELL", "Gateway", "Lost")

#: The event of a failed test that offers a shell, and of what that shell says.
SHELL = "shell"

_GONE = object()
#: Python's arguments for our command line with this Python as it is, which has all that is needed.
_COMMAND_LINE = ("-P", "-X", "nfharness-ready", "-m", "harness")
_SERVE = "from harness.pytest_plugin.guest.worker import serve; serve(channel)"
_ERROR, _SAID = "nfharness: error: ", 16384
#: How nfharness exec tells that a kernel has died: the end of the console, then the error.
_TOLD = re.compile(rf"^(  \| .*\n)*{_ERROR}", re.MULTILINE)
_QUIT_S, _AGAIN_S, _DIAGNOSIS_S = 1.0, 0.5, 30.0
#: For a session on a machine to undo what it did there: the tracer's probes, and what the agent was told.
_UNDO_S = 30.0


class Lost(Exception):
    """The guest is gone, or has been given up.

    :ivar reason: one line
    :ivar taken: whether it was this host or QEMU itself that ended it
    :ivar console: the end of its console
    :ivar see: where all of that is, or why it is nowhere
    :ivar said: the end of what its processes wrote to standard error since the last test began
    """

    def __init__(self, reason: str, ending: Ending | None, said: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.taken = bool(ending and ending.taken)
        self.console = ending.console if ending else ""
        self.see = ending.see if ending else ""
        self.said = said


class Gateway:
    """A guest of kernel *spec*.

    :param backend: as ``nfharness exec`` has it
    :param bare: so is this
    :param with_packages: and these
    :param show: takes what its processes write, as it comes; ``None`` keeps it for a failure
    :ivar shell: leads to the guest's :class:`~harness.pytest_plugin.guest.shell.Shell`, once a worker has been started with one
    :raises Lost: it does not come up
    """

    def __init__(self, spec: str, backend: str, *, bare: bool = False, with_packages: Sequence[str] = (),
                 show: Callable[[bytes], None] | None = None) -> None:
        self._stays = backend != "qemu"
        self._scratch = ExitStack()
        directory = self._scratch.enter_context(scratch("worker"))
        self._record, self._stderr, fifo = directory / "ending.json", directory / "stderr", directory / "output"
        self._live = Live(fifo, self._stderr, show)
        self._group = execnet.Group(execmodel="thread")
        self._channel: execnet.Channel
        self.shell: execnet.Channel
        self._events: queue.Queue[Any]
        chosen = [] if has_its_kernel(backend) else [f"--kernel={spec}"]
        command = [sys.executable, *_COMMAND_LINE, "exec", *chosen, f"--backend={backend}", "--record", str(self._record),
                   *(["--bare"] if bare else []), *(f"--with={name}" for name in with_packages), "--python", "--"]
        # In its own session: Ctrl-C is for pytest, which then ends this. The kernel ends it with us in any case.
        bound = process.bound(["setsid", "sh", "-c", 'exec "$@" 2>"$0"', str(fifo), *command])
        try:
            self._gateway = self._group.makegateway(f"popen//execmodel=main_thread_only//python={shlex.join(bound)}")
        except (OSError, EOFError):
            raise self._lost("its gateway did not start") from None
        self._process: subprocess.Popen[bytes] = self._gateway._io.popen  # type: ignore[attr-defined]
        if self._process.poll() is not None:
            raise self._lost("it did not start")

    def open(self, order: dict[str, Any], session: tuple[Any, ...], *, shell: bool = False) -> None:
        """Start an xdist worker.

        :param order: for :func:`~harness.pytest_plugin.guest.worker.serve`
        :param session: what it reads
        :param shell: a test that fails offers one, as an event
        """
        events: queue.Queue[Any] = queue.Queue()
        self._events = events
        order = {**order, "shell": None}
        if shell:
            order["shell"] = self.shell = self._gateway.newchannel()
            self.shell.setcallback(lambda said: events.put((SHELL, {"said": said})))
        try:
            self._channel = self._gateway.remote_exec(_SERVE)
            self._channel.send(order)
            self._channel.send(session)
        except OSError:
            raise self._lost("it died") from None
        self._channel.setcallback(events.put, endmarker=_GONE)

    def send(self, command: str, **arguments: Any) -> None:
        """A command of xdist's controller to its worker."""
        try:
            self._channel.send((command, arguments))
        except OSError:
            raise self._lost("it died") from None

    def event(self, deadline: Deadline | None, awaited: str) -> tuple[str, dict[str, Any]] | None:
        """The worker's next event; ``None`` when it has ended.

        :param deadline: ``None`` where it is a person who is awaited
        :raises Lost: the guest died, its worker ended over something, or the deadline passed
        """
        try:
            event = self._events.get(timeout=deadline.left() if deadline else None)
        except queue.Empty:
            if deadline and deadline.left():
                return self.event(deadline, awaited)
            self._give_up()
            raise self._lost(f"it hung: {awaited} took too long", sure=True) from None
        if event is not _GONE:
            name, arguments = event
            return str(name), dict(arguments)
        if self._process.poll() is None:
            try:
                self._channel.waitclose(1)
            except self._channel.RemoteError as error:
                told = str(error).strip()
                raise self._lost(f"its worker failed: {told.splitlines()[-1]}", told) from None
            except (OSError, EOFError):
                self._await_end()
                raise self._lost("it died") from None
            return None
        raise self._lost("it died")

    def _give_up(self) -> None:
        """Make Python say where it is and the kernel what its tasks wait for; then end the guest.

        nfharness exec gives a guest up when it has seen the same signal three times within two seconds, and ignores further ones then.
        """
        pause, deadline = _QUIT_S, Deadline(_DIAGNOSIS_S)
        while self._process.poll() is None and deadline.left():
            os.kill(self._process.pid, signal.SIGQUIT)
            self._await_end(pause)
            pause = _AGAIN_S

    def _await_end(self, seconds: float = 10) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _lost(self, what: str, told: str = "", *, sure: bool = False) -> Lost:
        """What is raised for a guest that is gone, with what can be said of its end.

        :param told: more of that
        :param sure: that is what happened, whatever the guest ended with
        """
        process = getattr(self, "_process", None)
        if process is not None and not told:
            self._await_end(5)
            self._live.join(1)
        known = ending.read(self._record)
        if known is None and process is not None and process.returncode == -signal.SIGKILL:
            known = Ending(taken="nfharness exec was killed by SIGKILL: that is this host's doing, not the kernel's")
        said = self._stderr.read_text(errors="replace") if self._stderr.exists() else ""
        if sure:
            pass
        elif known and (known.died or known.taken):
            what = known.died or known.taken or what
            said = _TOLD.split(said, 1)[0]  # what follows tells that again, and the console
        elif known and known.status is not None and not told:
            how = f"signal {known.status - 128}" if known.status > 128 else f"exit status {known.status}"
            why = console.reason(known.console)
            what = f"the worker in the guest ended ({how})" + (f": {why}" if why else "")
        elif errors := [line for line in said.splitlines() if line.startswith(_ERROR)]:
            what = errors[-1].removeprefix(_ERROR)
        self.close()
        return Lost(what, known, f"{told}\n{said[-_SAID:]}".strip())

    def close(self) -> None:
        """End the guest; a session on a machine first undoes what it did there."""
        process = getattr(self, "_process", None)
        if process is not None and self._stays:
            self._gateway.exit()
            self._await_end(_UNDO_S)
        if process is not None and process.poll() is None:
            process.kill()
        self._group.terminate(timeout=1)
        self._scratch.close()
