"""The agent is process 1 of a guest: what happens to one process of the host's must never end it."""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agent.agent import Agent
from harness.agent.child import Child, start
from harness.wire import Decoder, Frame, Kind, encode


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
    # The pipe is full when the "command" ends; whoever still writes to it afterwards writes for nobody.
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
    ours.sendall(encode(Frame(Kind.OPEN, 1, json.dumps({"argv": ["sleep", "1000"], "cwd": "/"}).encode())))
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
