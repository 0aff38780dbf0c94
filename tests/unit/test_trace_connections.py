"""Where the key of connections' ids is: in nf_conntrack's memory, wherever that is loaded now."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.trace.connections import IdKey
from harness.trace.registrations import registrations_of
from harness.trace.symbols import Symbols

HEAD = "ffffffff81000000 T _stext\nffffffff81000500 D jiffies\n"


def id_key(where: Path, found: str, **sections: int) -> IdKey:
    (where / "sections").mkdir()
    for name, address in sections.items():
        (where / "sections" / name).write_text(f"{address:#x}\n")
    (where / "kallsyms").write_text(HEAD + found)
    return IdKey(Symbols(where / "kallsyms"), where / "sections")


def test_it_follows_its_section_when_the_module_is_loaded_again(tmp_path: Path) -> None:
    found = id_key(tmp_path, "ffffffffc0402110 b ct_id_seed.2\t[nf_conntrack]\n", text=0xFFFFFFFFC0100000, bss=0xFFFFFFFFC0402000)
    assert found.address() == 0xFFFFFFFFC0402110
    (tmp_path / "sections/bss").write_text("0xffffffffc0700000\n")
    assert found.address() == 0xFFFFFFFFC0700110
    (tmp_path / "sections/bss").unlink()
    assert found.address() == 0


def test_of_a_kernel_that_has_conntrack_built_in_it_stays(tmp_path: Path) -> None:
    assert id_key(tmp_path, "ffffffff81000600 b ct_id_seed.7\n").address() == 0xFFFFFFFF81000600


@pytest.mark.parametrize("found", ["", "ffffffffc0402110 b ct_id_seed.2\t[other]\n",
                                   "".join(f"ffffffffc040211{place} b ct_id_seed.{place}\t[nf_conntrack]\n" for place in (1, 2))])
def test_what_is_not_found_or_not_the_only_one_is_no_key(tmp_path: Path, found: str) -> None:
    assert id_key(tmp_path, found, bss=0xFFFFFFFFC0402000).address() == 0


def test_registrations_are_not_seen_where_the_compiler_left_no_function(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text(HEAD)
    with pytest.raises(GuestError, match=r"no separate function __nf_hook_entries_try_shrink, __nf_register_net_hook, "):
        registrations_of(Symbols(tmp_path / "kallsyms"))
