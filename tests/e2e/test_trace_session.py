"""A traced kernel's packets in Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.backends.stories import Session
from harness.errors import UserError

PINGS = ["sh", "-c", "ping -q -c3 -i0.2 127.0.0.1 >&2; exit 7"]


def test_each_packet_that_the_filter_wants_is_given_once_and_the_status_is_the_commands() -> None:
    session = Session(PINGS, filter="point POSTROUTING and icmp[icmptype] == icmp-echo")
    packets = list(session)
    assert [packet.packet.split(" 127")[0] for packet in packets] == ["ICMP echo request"] * 3
    assert len({packet.number for packet in packets}) == 3
    assert (session.status, session.doubts) == (7, ())


def test_a_loop_that_is_left_ends_the_session_and_the_guest() -> None:
    def children() -> set[str]:
        return set(Path("/proc/thread-self/children").read_text().split())

    before = children()
    for packet in Session(["ping", "-q", "-i0.2", "127.0.0.1"]):
        assert packet.traversals
        break
    assert children() == before, "no QEMU is left"


def test_what_cannot_be_is_said_before_a_guest_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    with pytest.raises(UserError, match="no traffic but a command's"):
        Session()
    with pytest.raises(UserError, match="a term is missing"):
        Session(["true"], filter="dropped and (")


def test_a_command_that_the_guest_lacks_is_an_error() -> None:
    with pytest.raises(UserError, match="nosuch"):
        list(Session(["nosuch"]))
