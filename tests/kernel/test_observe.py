"""The observer beside a command: names of namespaces that come and go, and records that the host puts together."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.errors import GuestError
from harness.guest import conntrack, netns, observe
from harness.guest.netns import Namespace, current_inum
from harness.guest.observe import Namespaces
from harness.guest.topology import Network
from harness.guest.tracing import tracer
from harness.guest.traffic import payload, send_udp
from harness.netfilter import Family
from harness.trace.capture import Capture
from harness.trace.chains import CHAINED
from harness.walks.events import Call, Entry, Event, decode
from harness.walks.framing import records
from harness.walks.summary import cookie_of

INPUT = 1
SIOCGIFFLAGS, IFF_UP = 0x8913, 1


@pytest.fixture
def made() -> Iterator[Callable[[str], Namespace]]:
    """Makes namespaces; those that are left go when the test ends."""
    namespaces = []

    def make(name: str) -> Namespace:
        namespaces.append(made := netns.create(name))
        return made

    yield make
    for namespace in namespaces:
        namespace.delete()


def names(namespaces: Namespaces) -> list[str]:
    return [name for _, _, name in namespaces.seen]


def test_the_first_namespace_is_called_init(made: Callable[[str], Namespace]) -> None:
    with Namespaces() as namespaces:
        assert namespaces.seen[0] == (0, netns.current_inum(), "init")


def test_namespaces_that_are_there_have_their_names_at_once(made: Callable[[str], Namespace]) -> None:
    there = made("observed-before")
    with Namespaces() as namespaces:
        assert (there.inum, there.name) in {(inum, name) for _, inum, name in namespaces.seen}


def test_a_namespace_is_still_known_when_it_is_gone(made: Callable[[str], Namespace]) -> None:
    with Namespaces() as namespaces:
        made("observed-short").delete()
        # It is too late to look where nothing is left; while it is there, once is enough.
        namespaces.look()
        assert "observed-short" not in names(namespaces)
        short = made("observed-short")
        namespaces.look()
        short.delete()
        namespaces.look()
        assert [(inum, name) for _, inum, name in namespaces.seen[1:] if name == short.name] == [(short.inum, short.name)]


def test_a_file_without_a_namespace_waits_for_one(made: Callable[[str], Namespace]) -> None:
    with Namespaces() as namespaces:
        file = netns.DIRECTORY / "observed-late"
        file.touch()
        namespaces.look()
        assert namespaces.unresolved == {"observed-late"}
        file.unlink()
        late = made("observed-late")
        namespaces.look()
        assert (namespaces.unresolved, namespaces.seen[-1][1:]) == (set(), (late.inum, late.name))


def test_a_device_is_set_up(made: Callable[[str], Namespace]) -> None:
    with made("observed-lo").inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        def is_up() -> bool:
            flags, = struct.unpack_from("H", fcntl.ioctl(probe, SIOCGIFFLAGS, b"lo".ljust(40, b"\0")), 16)
            return bool(flags & IFF_UP)

        before = is_up()
        observe.set_up("lo")
        assert (before, is_up()) == (False, True)


def test_a_name_that_has_gone_is_told() -> None:
    with Namespaces() as namespaces:
        there = netns.create("nfh-goes")
        namespaces.look()
        there.delete()
        namespaces.look()
        assert [name for _, inum, name in namespaces.seen if inum == there.inum][-2:] == ["nfh-goes", ""]


class Observer:
    """``observe.main()`` in its own process, as the host sees it."""

    def __init__(self) -> None:
        (stdin, self._stdin), (stderr, stderr_w), self._stdout = os.pipe(), os.pipe(), os.memfd_create("records")
        self._pid = os.fork()
        if self._pid == 0:
            for number, end in enumerate((stdin, self._stdout, stderr_w)):
                os.dup2(end, number)
            os.close(self._stdin)
            sys.stdin, sys.stderr = os.fdopen(0), os.fdopen(2, "w")
            try:
                observe.main()
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(0)
        os.close(stdin)
        os.close(stderr_w)
        self._said = os.fdopen(stderr)
        armed = self.message()
        assert (armed["armed"], armed["connection"], armed["blind"]) == (True, "", {})
        assert (armed["unnamed"], armed["undecided"], armed["uncounted"]) == (None, None, None)

    def message(self) -> dict[str, Any]:
        line = self._said.readline()
        assert line.startswith("{"), line + self._said.read()
        message: dict[str, Any] = json.loads(line)
        return message

    def awaited(self, key: str) -> dict[str, Any]:
        """The next message that says something of *key*."""
        while key not in (message := self.message()):
            continue
        return message

    def tell(self, **what: Any) -> None:
        os.write(self._stdin, json.dumps(what).encode() + b"\n")

    def events(self, size: int) -> list[Event]:
        """Of all the records that it sent, *size* bytes."""
        taken = os.pread(self._stdout, size + 1, 0)
        assert len(taken) == size
        return list(decode(records(taken)))

    def hang_up(self) -> int:
        """Its wait status."""
        os.close(self._stdin)
        os.close(self._stdout)
        self._said.close()
        return os.waitpid(self._pid, 0)[1]


@pytest.fixture(autouse=True)
def loopback_goes_down_again() -> Iterator[None]:
    """An observer sets the guest's own loopback device up, and leaves it so."""
    yield
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)


@pytest.fixture
def hooked(network: Network) -> Network:
    """Namespace ``host`` counts what comes in."""
    rules = "table ip t { chain in { type filter hook input priority 7; counter; }; }"
    with network.namespaces["host"].inside():
        subprocess.run(["nft", rules], check=True)
    return network


def test_the_observer_tells_all_that_happened_until_the_end(hooked: Network) -> None:
    observer = Observer()
    for number in range(300):
        assert send_udp(hooked.namespaces["peer"], "10.0.0.1", 9, payload(32, number)) == 0
    observer.tell(ended=True)
    ended = observer.awaited("records")
    events = observer.events(ended["records"])
    host = hooked.namespaces["host"]
    assert [host.inum, host.name] in [seen[1:] for seen in ended["namespaces"]]
    assert (ended["lost_events"], ended["doubts"]) == (0, [])
    cookies = [cookie_of(event.tail) for event in events
               if isinstance(event, Entry) and (event.netns, event.pf, event.hook) == (host.inum, Family.IPV4, INPUT)]
    assert cookies == list(range(300))
    observer.tell(addresses=[event.function for event in events if isinstance(event, Call) and event.priority == 7][:1])
    assert [symbol[2:] for symbol in observer.awaited("symbols")["symbols"]] == [["nft_do_chain_ipv4", "nf_tables"]]
    assert observer.hang_up() == 0


def test_the_observer_ends_when_the_host_is_gone() -> None:
    assert Observer().hang_up() == 0


def test_only_one_observer_at_a_time() -> None:
    observer = Observer()
    with pytest.raises(GuestError, match="another capture is under way"), Capture(tracer()):
        pass
    assert observer.hang_up() == 0


def test_rules_that_were_asked_for_just_before_the_end_are_told() -> None:
    observer = Observer()
    observer.tell(netns=[current_inum(), 0], rules=[[1, 1]], whole=False)
    observer.tell(ended=True)
    said: dict[str, Any] = {}
    while not {"rules", "records"} <= said.keys():
        said |= observer.message()
    assert said["rules"] == []  # there is no such rule
    assert observer.hang_up() == 0


def test_modules_that_went_while_a_child_watched_leave_no_function_of_chains_behind() -> None:
    """Parent and child share the kernel's table of these functions; each has its view of which modules are there."""
    if not conntrack.is_module("nft_chain_nat"):
        pytest.skip("nft_chain_nat is no module of this kernel")
    conntrack.load("nft_chain_nat")
    with Capture(tracer()):
        pass
    gone = conntrack.unload("nft_chain_nat")
    for _ in range(2):
        assert Observer().hang_up() == 0
    for name in ("", *reversed(gone)):
        if name:
            conntrack.load(name)
        with Capture(tracer()):
            assert set(tracer().bpf["chained"]) == set(tracer().modules.addresses(CHAINED))
