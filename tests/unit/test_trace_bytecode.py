"""Byte code that was compiled elsewhere gets the tables of this kernel."""

from __future__ import annotations

import struct

import pytest

from harness.trace.bytecode import relocated

_INSN = struct.Struct("<BBhi")
#: ``r1 = <64 bits>`` by a register field of 1 (``BPF_PSEUDO_MAP_FD``) above the destination's number.
_LOAD_64, _R1, _R1_OF_TABLE = 0x18, 0x01, 0x11
_EXIT = _INSN.pack(0x95, 0, 0, 0)


def load(registers: int, low: int, high: int = 0) -> bytes:
    """``lddw``: two instructions, of which the second has the upper half and no operation."""
    return _INSN.pack(_LOAD_64, registers, 0, low) + _INSN.pack(0, 0, 0, high)


def test_a_table_s_descriptor_is_replaced_and_a_number_is_not() -> None:
    code = load(_R1_OF_TABLE, 10) + load(_R1, 10) + load(_R1_OF_TABLE, 11) + _EXIT
    assert relocated(code, {10: 5, 11: 10}) == load(_R1_OF_TABLE, 5) + load(_R1, 10) + load(_R1_OF_TABLE, 10) + _EXIT


def test_the_upper_half_of_a_number_is_not_taken_for_an_instruction() -> None:
    """Its bytes are no operation: whatever they look like, they stay."""
    looks_like = _INSN.pack(_LOAD_64, _R1_OF_TABLE, 0, 10)
    code = _INSN.pack(_LOAD_64, _R1, 0, 0) + looks_like + _EXIT
    assert relocated(code, {10: 5}) == code


def test_a_table_that_nobody_made_is_an_error() -> None:
    with pytest.raises(KeyError):
        relocated(load(_R1_OF_TABLE, 12) + _EXIT, {10: 5})
