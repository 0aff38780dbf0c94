"""Numbers of the kernel's uapi that Python says again are those of its headers, where the host has them (Debian's linux-libc-dev)."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from harness.guest import inventory, nfnetlink_hook, queue
from harness.netfilter import Family
from tests.c_source import every_enumerator

HEADERS = Path("/usr/include/linux")

pytestmark = pytest.mark.skipif(not (HEADERS / "netfilter/nfnetlink_queue.h").exists(), reason="no headers: apt install linux-libc-dev")


def numbers(header: str) -> dict[str, int]:
    """Enumerators and plain ``#define`` numbers of a header."""
    text = (HEADERS / header).read_text()
    defined = {name: int(value, 0) for name, value in re.findall(r"^#define\s+(\w+)\s+(0x[0-9a-fA-F]+|\d+)\b", text, re.MULTILINE)}
    shifted = {name: 1 << int(bit) for name, bit in re.findall(r"^#define\s+(\w+)\s+\(1 << (\d+)\)", text, re.MULTILINE)}
    return {**every_enumerator(text), **defined, **shifted}


@pytest.mark.parametrize(("mirror", "prefix"), [(queue._Attribute, "NFQA_"), (queue._Setting, "NFQA_CFG_")])
def test_attributes_of_a_queue_have_the_headers_numbers(mirror: type[IntEnum], prefix: str) -> None:
    header = numbers("netfilter/nfnetlink_queue.h")
    assert {one.name: one.value for one in mirror} == {one.name: header[prefix + one.name] for one in mirror}


def test_messages_and_modes_of_a_queue_have_the_headers_numbers() -> None:
    header, subsystem = numbers("netfilter/nfnetlink_queue.h"), numbers("netfilter/nfnetlink.h")["NFNL_SUBSYS_QUEUE"]
    messages = [subsystem << 8 | header[f"NFQNL_MSG_{name}"] for name in ("PACKET", "VERDICT", "CONFIG")]
    assert messages == [queue._PACKET, queue._VERDICT, queue._CONFIG]
    assert {name: header[f"NFQNL_COPY_{name.upper()}"] for name in queue._COPY_MODES} == queue._COPY_MODES
    assert (header["NFQNL_CFG_CMD_BIND"], header["NFQA_CFG_F_FAIL_OPEN"]) == (queue._BIND, queue._FAIL_OPEN)


def test_attributes_of_the_list_of_hooks_have_the_headers_numbers() -> None:
    header = numbers("netfilter/nfnetlink_hook.h")
    mirror = {"HOOKNUM": nfnetlink_hook._HOOKNUM, "PRIORITY": nfnetlink_hook._PRIORITY, "DEV": nfnetlink_hook._DEVICE,
              "FUNCTION_NAME": nfnetlink_hook._FUNCTION, "MODULE_NAME": nfnetlink_hook._MODULE}
    assert mirror == {name: header[f"NFNLA_HOOK_{name}"] for name in mirror}
    assert header["NFNL_MSG_HOOK_GET"] == nfnetlink_hook._NFNL_MSG_HOOK_GET
    assert numbers("netfilter/nfnetlink.h")["NFNL_SUBSYS_HOOK"] == nfnetlink_hook._NFNL_SUBSYS_HOOK


def test_families_have_the_headers_numbers() -> None:
    header = numbers("netfilter.h")
    assert {one.name: one.value for one in Family} == {one.name: header[f"NFPROTO_{one.name}"] for one in Family}


def test_requests_of_an_inventory_have_the_headers_numbers() -> None:
    route, xfrm = numbers("rtnetlink.h"), numbers("xfrm.h")
    assert {name: getattr(inventory, f"_GET{name}") for name in ("LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "NEXTHOP")} == {
        name: route[f"RTM_GET{name}"] for name in ("LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "NEXTHOP")}
    groups = ("LINK", "NEIGH", "TC", "IPV4_IFADDR", "IPV4_ROUTE", "IPV4_RULE", "IPV6_IFADDR", "IPV6_ROUTE", "IPV6_RULE", "NEXTHOP")
    assert tuple(route[f"RTNLGRP_{name}"] for name in groups) == inventory._ROUTE_GROUPS
    assert (xfrm["XFRMNLGRP_SA"], xfrm["XFRMNLGRP_POLICY"]) == inventory._XFRM_GROUPS
    assert (xfrm["XFRM_MSG_GETSA"], xfrm["XFRM_MSG_GETPOLICY"]) == (inventory._XFRM_GETSA, inventory._XFRM_GETPOLICY)
