"""Families, hook points, verdicts and queue attributes have the numbers of the kernel's headers (linux-libc-dev, which guests have)."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from harness.guest import nfnetlink_hook, queue
from harness.netfilter import HOOK_POINTS, Family, VerdictKind

#: The headers' names of hook points, where they are not those of nft and iptables.
POINTS = {"PRE_ROUTING": "PREROUTING", "LOCAL_IN": "INPUT", "IN": "INPUT", "LOCAL_OUT": "OUTPUT", "OUT": "OUTPUT",
          "POST_ROUTING": "POSTROUTING"}


def numbers(header: str, prefix: str) -> dict[str, int]:
    """Constants and enum members whose names begin with *prefix*, without it; those that name another one are left out."""
    source = re.sub(r"/\*.*?\*/", "", Path("/usr/include/linux", header).read_text(), flags=re.DOTALL)
    found = {name: int(value) for name, value in re.findall(rf"^#define {prefix}(\w+)\s+(\d+)\s*$", source, re.MULTILINE)}
    for body in re.findall(r"enum[\w ]*{([^}]*)}", source):
        value = -1
        for name, given in re.findall(r"(\w+)(?:\s*=\s*(-?\w+))?\s*(?:,|$)", body.strip()):
            if given and not given.isdigit():
                continue
            value = int(given) if given else value + 1
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = value
    return found


@pytest.mark.parametrize(("mirror", "header", "prefix"), [
    (VerdictKind, "netfilter.h", "NF_"),
    (queue._Attribute, "netfilter/nfnetlink_queue.h", "NFQA_"), (queue._Setting, "netfilter/nfnetlink_queue.h", "NFQA_CFG_"),
])
def test_an_enum_has_the_headers_numbers(mirror: type[IntEnum], header: str, prefix: str) -> None:
    theirs = numbers(header, prefix)
    ours = {member.name: member.value for member in mirror}
    assert ours
    assert ours == {name: theirs[name] for name in ours}


def test_families_have_the_headers_numbers() -> None:
    theirs = numbers("netfilter.h", "NFPROTO_")
    ours = {family.name: family.value for family in HOOK_POINTS}
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.parametrize(("family", "header", "prefix"), [
    (Family.IPV4, "netfilter.h", "NF_INET_"), (Family.NETDEV, "netfilter.h", "NF_NETDEV_"),
    (Family.ARP, "netfilter_arp.h", "NF_ARP_"), (Family.BRIDGE, "netfilter_bridge.h", "NF_BR_"),
])
def test_hook_points_have_the_headers_numbers(family: Family, header: str, prefix: str) -> None:
    theirs = {POINTS.get(name, name): number for name, number in numbers(header, prefix).items()}
    assert HOOK_POINTS[family] == {name: theirs[name] for name in HOOK_POINTS[family]}


def test_ingress_of_inet_comes_after_its_other_points() -> None:
    points = HOOK_POINTS[Family.INET]
    assert points == {**HOOK_POINTS[Family.IPV4], "INGRESS": numbers("netfilter.h", "NF_INET_")["NUMHOOKS"]}


def test_attributes_of_the_kernels_list_of_hooks_have_the_headers_numbers() -> None:
    theirs = numbers("netfilter/nfnetlink_hook.h", "NFNLA_HOOK_")
    ours = {"HOOKNUM": nfnetlink_hook._HOOKNUM, "PRIORITY": nfnetlink_hook._PRIORITY, "DEV": nfnetlink_hook._DEVICE,
            "FUNCTION_NAME": nfnetlink_hook._FUNCTION, "MODULE_NAME": nfnetlink_hook._MODULE}
    assert ours == {name: theirs[name] for name in ours}
