"""What apt says when it refuses, as an error that names the package in the way; the texts are apt's own, of 2.6."""

from __future__ import annotations

import pytest

from harness.images.refusals import refusal

_READING = "Reading package lists...\nBuilding dependency tree...\nReading state information...\n"
_UNKNOWN = f"{_READING}E: Unable to locate package ipste\n"
_VIRTUAL = f"""{_READING}Package mail-transport-agent is a virtual package provided by:
  exim4-daemon-light 4.98.2-1+deb13u6
  postfix 3.10.13-0+deb13u1

E: Package 'mail-transport-agent' has no installation candidate
"""
_ELSEWHERE = f"""{_READING}Package linux-tools-common is not available, but is referred to by another package.
This may mean that the package is missing, has been obsoleted, or
is only available from another source

E: Package 'linux-tools-common' has no installation candidate
"""
_UNMET = f"""{_READING}Some packages could not be installed. This may mean that you have
requested an impossible situation.
The following information may help to resolve the situation:

The following packages have unmet dependencies:
 exim4-config : Conflicts: postfix but 3.10.13-0+deb13u1 is to be installed
 foo : Depends: libfoo1 (>= 2.0)
                but it is not going to be installed
E: Unable to correct problems, you have held broken packages.
"""
_REMOVES = f"""{_READING}The following packages will be REMOVED:
  busybox-static
The following NEW packages will be installed:
  busybox
0 upgraded, 1 newly installed, 1 to remove and 0 not upgraded.
E: Packages need to be removed but remove is disabled.
"""
_KNOWN = ["ipset", "iptables", "jq", "python3-scapy", "linux-perf"]


@pytest.mark.parametrize(
    ("said", "wanted", "message", "hint"),
    [
        (_UNKNOWN, ["ipste"], "trixie has no package ipste",
         "did you mean ipset? look among the packages of Debian trixie"),
        (_ELSEWHERE, ["linux-tools-common"], "trixie has no package linux-tools-common",
         "look among the packages of Debian trixie"),
        (_VIRTUAL, ["mail-transport-agent"], "mail-transport-agent is no package of trixie, but what several of them provide",
         "name one: exim4-daemon-light, postfix"),
        (_UNMET, ["exim4", "foo"], "exim4, foo cannot be installed over the guest's userland: exim4-config: Conflicts: postfix but "
         "3.10.13-0+deb13u1 is to be installed; foo: Depends: libfoo1 (>= 2.0) but it is not going to be installed",
         "leave out one of those that conflict"),
        (_REMOVES, ["busybox"], "busybox conflicts with what the guest's userland has: busybox-static", "name another package"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_named(said: str, wanted: list[str], message: str, hint: str) -> None:
    found = refusal(said, "trixie", wanted, lambda: _KNOWN)
    assert found
    assert (found.message, found.hint) == (message, hint)


def test_a_name_that_is_part_of_others_is_told_with_them() -> None:
    found = refusal("E: Unable to locate package perf\n", "trixie", ["perf"], lambda: _KNOWN)
    assert found
    assert (found.hint or "").startswith("did you mean linux-perf? ")


def test_a_network_that_is_not_there_is_no_refusal() -> None:
    said = f"{_READING}Err:1 http://mirror.example/debian trixie/main amd64 jq amd64 1.7\n  Could not resolve 'mirror.example'\n"
    assert refusal(said, "trixie", ["jq"], lambda: _KNOWN) is None
