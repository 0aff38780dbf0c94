"""The module's client, as far as it needs no kernel."""

from __future__ import annotations

import errno
import re
import struct
from enum import IntEnum
from pathlib import Path

import pytest

from harness.guest import genetlink
from harness.guest.genetlink import NetlinkRefused, attribute, attributes
from harness.guest.module import HookRefused
from harness.guest.uapi import Attribute, Command

HEADER = Path(__file__).parents[2] / "kmod" / "nfharness.h"


@pytest.mark.parametrize(("tag", "prefix", "mirror"), [
    ("nfharness_cmd", "NFHARNESS_CMD_", Command),
    ("nfharness_attr", "NFHARNESS_A_", Attribute),
])
def test_the_client_numbers_commands_and_attributes_as_the_module_does(tag: str, prefix: str, mirror: type[IntEnum]) -> None:
    enum = re.search(rf"^enum {tag} {{(.*?)^}};", HEADER.read_text(), re.DOTALL | re.MULTILINE)
    assert enum
    names = re.findall(rf"^\t{prefix}(\w+),$", enum[1], re.MULTILINE)
    assert {name: number for number, name in enumerate(names)} == {member.name: member.value for member in mirror}


def test_every_attribute_is_documented_in_the_header() -> None:
    text = HEADER.read_text()
    undocumented = {member.name for member in Attribute if f"@NFHARNESS_A_{member.name}:" not in text}
    assert undocumented == {"UNSPEC"}


def test_attributes_are_padded_to_four_bytes_and_read_back() -> None:
    data = attribute(1, b"abc") + attribute(2, struct.pack("=Q", 7)) + attribute(3, b"")
    assert len(data) == 8 + 12 + 4
    assert attributes(data) == {1: b"abc", 2: struct.pack("=Q", 7), 3: b""}


def test_a_truncated_attribute_ends_the_message() -> None:
    assert attributes(attribute(1, b"abcd") + b"\x01\x00\x02\x00") == {1: b"abcd"}


def test_a_refusal_says_errno_reason_and_attribute() -> None:
    refused = HookRefused(NetlinkRefused(errno.ERANGE, "integer out of range", Attribute.ERRNO))
    assert (refused.errno, refused.reason, refused.attribute) == (errno.ERANGE, "integer out of range", Attribute.ERRNO)
    assert "integer out of range (ERRNO)" in str(refused)


def test_a_refusal_without_a_reason_is_still_its_errno() -> None:
    refused = HookRefused(NetlinkRefused(errno.EPERM))
    assert (refused.errno, refused.reason, refused.attribute) == (errno.EPERM, "", None)


REQUEST = genetlink._Request(1, b"\0" * 20 + attribute(Attribute.PRIORITY, b"\0\0\0\0"))
EXTENDED = attribute(1, b"no\0") + attribute(2, struct.pack("=I", 20))


@pytest.mark.parametrize("message", [
    genetlink._Message(2, 0x300, 1, struct.pack("=i", -errno.EINVAL) + b"\0" * 16 + EXTENDED),
    genetlink._Message(2, 0x200, 1, struct.pack("=i", -errno.EINVAL) + struct.pack("=I", 28) + b"\0" * 24 + EXTENDED),
    genetlink._Message(3, 0x202, 1, struct.pack("=i", -errno.EINVAL) + EXTENDED),
], ids=["capped ack", "ack with the request in it", "end of a dump"])
def test_the_extended_ack_gives_reason_and_attribute(message: genetlink._Message) -> None:
    refused = genetlink._refusal(message, REQUEST)
    assert refused is not None
    assert (refused.errno, refused.reason, refused.attribute) == (errno.EINVAL, "no", Attribute.PRIORITY)


def test_an_ack_without_an_errno_is_no_refusal() -> None:
    assert genetlink._refusal(genetlink._Message(2, 0x100, 1, struct.pack("=i", 0) + b"\0" * 16), REQUEST) is None
