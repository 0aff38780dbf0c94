"""What tests inside a guest share: the module, a network, traffic without end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from harness.guest.module import HookModule, is_loaded, load
from harness.guest.netns import Namespace
from harness.guest.topology import Network, built
from harness.guest.traffic import payload
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario.topology import PAIR


@pytest.fixture(autouse=True)
def in_a_guest(kernel: RunningKernel) -> None:
    """Every test here is for a kernel."""


@pytest.fixture(scope="session")
def nfharness_ko() -> None:
    """The module is loaded."""
    if not is_loaded():
        load()


@pytest.fixture
def network() -> Iterator[Network]:
    """Namespaces ``peer`` and ``host``, joined by a veth pair."""
    with built(PAIR) as network:
        yield network


@pytest.fixture
def module(network: Network) -> Iterator[HookModule]:
    """As the namespace ``host`` sees it."""
    with HookModule(network.namespaces["host"]) as opened:
        yield opened


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], str]:
    """Run something in a forked process, whose credentials and namespaces it may change; what it returned, or raised, as text."""

    def run(action: Callable[[], object]) -> str:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                text = str(action())
            except BaseException as error:
                text = f"{type(error).__name__}: {error}"
            os.write(write, text.encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        return text

    return run


@pytest.fixture
def unshare_user_and_network() -> Callable[[], None]:
    """Move the process to a new user namespace, and a network namespace that belongs to it."""

    def unshare() -> None:
        clone_newuser, clone_newnet = 0x10000000, 0x40000000
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(clone_newuser | clone_newnet):
            raise OSError(ctypes.get_errno(), "unshare: are unprivileged user namespaces allowed?")

    return unshare


@pytest.fixture
def flood() -> Callable[[Namespace, str], AbstractContextManager[None]]:
    """Datagrams from a namespace to an address, as fast as they go, for as long as the block runs."""

    @contextlib.contextmanager
    def flooding(netns: Namespace, to: str) -> Iterator[None]:
        ready, started = os.pipe()
        child = os.fork()
        if child == 0:
            _send_for_ever(netns, to, started)
        os.close(started)
        try:
            assert os.read(ready, 1) == b"!"
            yield
        finally:
            os.close(ready)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    return flooding


def _send_for_ever(netns: Namespace, to: str, started: int) -> None:
    try:
        with netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            data = payload(32, 1)
            os.write(started, b"!")
            while True:
                with contextlib.suppress(OSError):
                    sender.sendto(data, (to, 9))
    finally:
        os._exit(1)
