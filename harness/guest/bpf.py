"""BPF programs as hooks: ``bpf(2)`` itself, as no library that is well kept has these links without a compiler."""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache

from harness.guest.netns import Namespace
from harness.netfilter import VerdictKind, hook_number
from harness.scenario.steps.bpf import BpfLink

__all__ = ("link",)

# uapi/linux/bpf.h
_PROG_LOAD, _LINK_CREATE = 5, 28
_PROG_TYPE_NETFILTER, _ATTACH_NETFILTER = 32, 45
_MOV64_R0, _EXIT = 0xB7, 0x95
_SYSCALL = 321  # x86_64

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def link(namespace: Namespace, step: BpfLink) -> int:
    """The step.

    :returns: a file descriptor; when it is closed, the hook goes

    :raises OSError: EINVAL: the kernel has no such programs; EBUSY: the priority is taken
    """
    with namespace.inside():
        return _bpf(_LINK_CREATE, struct.pack("=IIIIIIiI", _program(step.verdict.kind), 0, _ATTACH_NETFILTER, 0, int(step.pf),
                                              hook_number(step.pf, step.hook), step.priority, 0))


@cache
def _program(verdict: VerdictKind) -> int:
    """A program that gives every packet the same verdict; links of one program have ``hook`` and ``priv`` in common."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", _MOV64_R0, 0, 0, int(verdict), _EXIT, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    unverbose = struct.pack("=IIQ", 0, 0, 0)
    return _bpf(_PROG_LOAD, struct.pack("=IIQQ", _PROG_TYPE_NETFILTER, 2, ctypes.addressof(code), ctypes.addressof(licence)) + unverbose
                + struct.pack("=II16sII", 0, 0, b"nfharness", 0, _ATTACH_NETFILTER))


def _bpf(command: int, attributes: bytes) -> int:
    """Call ``bpf(2)``.

    :returns: a file descriptor, closed in programs that this one starts
    :raises OSError: the kernel refuses
    """
    descriptor = int(_libc.syscall(_SYSCALL, command, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes)))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf: {os.strerror(number)}")
    return descriptor
