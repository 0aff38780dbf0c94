"""Symbols out of /proc/kallsyms and their owners."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.trace.symbols import Symbols
from harness.walks.symbol import Symbol

KALLSYMS = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000100 T nf_hook_slow
ffffffff81000200 T __x86_indirect_thunk_array
ffffffff81000200 T __x86_indirect_thunk_rax
ffffffff81000300 t twice
ffffffff81000400 t twice
ffffffff81000500 D jiffies
ffffffffc0002000 t nft_do_chain\t[nf_tables]
ffffffffc0001000 t nft_first\t[nf_tables]
ffffffffc0000000 t twice\t[other]
ffffffffc0003000 b seed.30\t[nf_tables]
ffffffffc0500000 t nf_nat_inet_fn\t[nf_nat]
"""


@pytest.fixture
def symbols(tmp_path: Path) -> Symbols:
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    return Symbols(tmp_path / "kallsyms")


@pytest.mark.parametrize(("address", "name"), [
    (0xFFFFFFFF81000100, "nf_hook_slow"), (0xFFFFFFFF810001FF, "nf_hook_slow"), (0xFFFFFFFF810004FF, "twice"),
    (0xFFFFFFFF81000500, None), (0xFFFFFFFFC0001000, None), (0xFFFF888000000000, None),
])
def test_an_address_of_vmlinux_belongs_to_the_symbol_at_or_before_it(symbols: Symbols, address: int, name: str | None) -> None:
    found = symbols.core(address)
    assert (found and (found.name, found.module)) == (name and (name, None))


def test_an_address_of_a_module_belongs_to_the_symbol_at_or_before_it(symbols: Symbols) -> None:
    assert symbols.at(0xFFFFFFFFC0001004) == Symbol(0xFFFFFFFFC0001000, "nft_first", "nf_tables")
    assert symbols.at(0xFFFFFFFF81000104) == Symbol(0xFFFFFFFF81000100, "nf_hook_slow", None)


def test_a_function_ends_where_the_next_address_begins(symbols: Symbols) -> None:
    assert symbols.end(symbols.one("nf_hook_slow")) == 0xFFFFFFFF81000200
    assert symbols.end(symbols.one("__x86_indirect_thunk_array")) == 0xFFFFFFFF81000300


def test_a_function_of_a_module_ends_where_any_other_s_begins(symbols: Symbols) -> None:
    assert symbols.end(symbols.one("nft_first", "nf_tables")) == 0xFFFFFFFFC0002000
    assert symbols.end(symbols.one("twice", "other")) == 0xFFFFFFFFC0001000


@pytest.mark.parametrize(("name", "module"), [("seed.30", "nf_tables"), ("nf_nat_inet_fn", "nf_nat")])
def test_a_function_that_none_follows_for_long_is_not_taken_to_be_as_long(symbols: Symbols, name: str, module: str) -> None:
    symbol = symbols.one(name, module)
    assert symbols.end(symbol) == symbol.address + 0x10000


def test_an_address_has_all_its_names(symbols: Symbols) -> None:
    assert symbols.aliases(0xFFFFFFFF81000200) == {"__x86_indirect_thunk_array", "__x86_indirect_thunk_rax"}
    assert symbols.aliases(0xFFFFFFFFC0001000) == {"nft_first"}


def test_a_name_is_looked_for_with_its_owner(symbols: Symbols) -> None:
    assert symbols.one("twice", "other") == Symbol(0xFFFFFFFFC0000000, "twice", "other")


@pytest.mark.parametrize(("name", "complaint"), [("twice", "2 symbols twice"), ("hook_slow", "no symbol hook_slow")])
def test_an_ambiguous_or_missing_name_is_refused(symbols: Symbols, name: str, complaint: str) -> None:
    with pytest.raises(GuestError, match=complaint):
        symbols.one(name)


def test_hidden_addresses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text("0000000000000000 T nf_hook_slow\n")
    with pytest.raises(GuestError) as refused:
        Symbols(tmp_path / "kallsyms")
    assert "kptr_restrict" in (refused.value.hint or "")


def test_an_address_inside_a_function_has_no_name(symbols: Symbols) -> None:
    assert [symbols.aliases(address) for address in (0xFFFFFFFF81000101, 0xFFFFFFFFC0001001, 1)] == [set()] * 3
    assert symbols.aliases(0) == {"fixed_percpu_data"}


def test_a_static_variable_of_a_function_is_found_by_its_name_without_the_compiler_s_number(symbols: Symbols) -> None:
    assert symbols.numbered("seed") == [Symbol(0xFFFFFFFFC0003000, "seed.30", "nf_tables")]
    assert symbols.numbered("twice") == []
