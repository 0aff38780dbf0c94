"""The agent is process 1 of a guest: what happens to one process of the host's must never end it."""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.agent.agent import Agent
from harness.agent.child import Child, Spare, start
from harness.wire import Decoder, Kind, WireFrame, encode


@pytest.fixture
def child() -> Iterator[Child]:
    """A process that writes without end."""
    started = start(1, {"argv": ["yes"], "cwd": "/"}, close=[])
    yield started
    with selectors.EpollSelector() as selector:
        started.close(selector)
    os.waitpid(started.pid, 0)


def test_an_event_of_a_stream_that_was_hung_up_in_the_same_round_is_nothing(child: Child) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, selectors.EpollSelector() as selector:
        agent = Agent(theirs.fileno(), theirs.fileno())
        event = selectors.SelectorKey(child.fds[1], child.fds[1], selectors.EVENT_READ, (child, 1))
        child.hang_up(selector, 1)
        agent._on_event(event, selectors.EVENT_READ)
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def test_what_background_processes_write_after_the_end_is_not_the_commands_output(child: Child) -> None:
    # The pipe is full when the "command" ends; what is still written to it afterwards is read by nobody.
    while child.read(1, 1 << 15) is None:
        pass
    child.end(0)
    lay = child.left[1]
    read = 0
    while data := child.read(1, 1 << 15):
        read += len(data)
    assert read == lay
    assert 1 in child.drained


@pytest.mark.parametrize("ends", ["one socket", "a pipe each way"])
def test_an_agent_whose_host_hangs_up_ends_its_processes_and_returns(ends: str) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = theirs.fileno(), theirs.fileno() if ends == "one socket" else os.dup(theirs.fileno())
    ours.sendall(encode(WireFrame(Kind.OPEN, 1, json.dumps({"argv": ["sleep", "1000"], "cwd": "/"}).encode())))
    agent_pid = os.fork()
    if agent_pid == 0:
        ours.close()
        os._exit(0 if Agent(reader, writer).serve() is None else 1)
    theirs.close()
    (started,) = Decoder().feed(ours.recv(4096))
    pid = json.loads(started.payload)["pid"]
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(agent_pid, 0)[1]) == 0
    assert not Path("/proc", str(pid)).exists()


@pytest.mark.parametrize(("request_", "number", "why"), [
    ({"argv": [""]}, errno.ENOENT, "No such file or directory"),
    ({"argv": ["no-such-command"]}, errno.ENOENT, "No such file or directory"),
    ({"argv": ["/etc/passwd"]}, errno.EACCES, "Permission denied"),
    ({"argv": []}, errno.ENOENT, "No such file or directory"),
    ({"argv": ["echo", "a\0b"]}, errno.EINVAL, "embedded null byte"),
    ({"argv": ["ec\0ho"]}, errno.EINVAL, "embedded null"),
    ({"argv": ["echo", 7]}, errno.EINVAL, "expected str, bytes or os.PathLike object, not int"),
    ({"argv": ["true"], "env": {"a=b": "c"}}, errno.EINVAL, "illegal environment variable name"),
    ({"argv": ["true"], "cwd": "a\0b"}, errno.EINVAL, "embedded null byte"),
], ids=str)
def test_whatever_keeps_a_command_from_being_run_is_the_reason(request_: dict[str, Any], number: int, why: str) -> None:
    def refusal() -> str:
        with pytest.raises(OSError) as refused:
            start(1, {"cwd": "/", **request_}, close=[])
        return f"{refused.value.errno} {refused.value.strerror}"

    (line,) = in_a_fork(refusal)
    assert line.startswith(f"{number} ") and why in line


def in_a_fork(act: Callable[[], str]) -> list[str]:
    """What *act* says, a line for each process that comes back from it: one whose child unwinds would be a second pytest."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "nothing"
        try:
            said = act()
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(writer, f"{said}\n".encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as lines:
        return lines.read().splitlines()


def _close_output() -> None:
    sys.stdout.close()


def _leave(status: object) -> object:
    return status


def _fail(text: str) -> None:
    raise RuntimeError(text)


@pytest.mark.parametrize(("function", "args", "status"), [
    ("_close_output", [], 0), ("_leave", [7], 7), ("_leave", [1 << 40], 0), ("_leave", [-1], 255), ("_leave", ["no number"], 1),
    ("_fail", ["\udcff"], 1)])
@pytest.mark.parametrize("spare", [False, True])
def test_a_task_ends_with_its_function_whatever_that_did(function: str, args: list[object], status: int, *, spare: bool) -> None:
    def ended() -> str:
        request = {"python": f"{__name__}:{function}", "args": args}
        child = Spare.make(close=[]).start(1, request) if spare else start(1, request, close=[])
        return str(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))

    assert in_a_fork(ended) == [str(status)]
