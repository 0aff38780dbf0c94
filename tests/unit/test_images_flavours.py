"""What a kernel that nfharness builds is configured with."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostError, UserError
from harness.images import config, flavours


def _kept(insisted: dict[str, str], **changed: str) -> str:
    """A ``.config`` as olddefconfig leaves it, with some options changed."""
    options = flavours.settings(flavours.merged("", insisted)) | changed
    return "".join(f"CONFIG_{name}={value}\n" for name, value in options.items() if value != "n")


def test_later_fragments_count_more_and_each_option_stands_once() -> None:
    insisted = flavours.wanted("gcov", [{"VETH": "m", "NR_CPUS": "8"}, {"VETH": "n", "DEFAULT_HOSTNAME": '"x y"'}])
    text = flavours.merged("CONFIG_EXPERT=y\nCONFIG_NR_CPUS=1\n# CONFIG_VETH is not set\n", insisted)
    names = [line.removeprefix("# ").removeprefix("CONFIG_").split("=")[0].split()[0] for line in text.splitlines()]
    assert len(names) == len(set(names))
    found = flavours.settings(text)
    assert {name: found[name] for name in ("VETH", "NR_CPUS", "DEFAULT_HOSTNAME", "GCOV_KERNEL", "LOCALVERSION", "MODULE_SIG_FORCE")} == {
        "VETH": "n", "NR_CPUS": "8", "DEFAULT_HOSTNAME": '"x y"', "GCOV_KERNEL": "y", "LOCALVERSION": '"-gcov"', "MODULE_SIG_FORCE": "n"}
    assert config.unmet(config.options(flavours.merged("", {}))) == []
    assert {found["DEBUG_INFO"], found["DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT"]} == {"y"}  # before 5.18, and since


@pytest.mark.parametrize("flavour", flavours.names())
def test_what_was_kept_is_right(flavour: str, tmp_path: Path) -> None:
    insisted = flavours.wanted(flavour, [{"VETH": "m"}])
    flavours.check(_kept(insisted), insisted, tmp_path)


def test_each_option_that_was_dropped_is_named_with_what_it_depends_on(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    options = "menuconfig KASAN\n\tbool\n\tdepends on !KCSAN\n\tdepends on SLUB\nconfig X\n\tdepends on Y\n"
    (tmp_path / "lib/Kconfig.kasan").write_text(options)
    insisted = flavours.wanted("kasan", [{"NO_SUCH": "y", "VETH": "m"}])
    with pytest.raises(HostError) as told:
        flavours.check(_kept(insisted, KASAN="n", NO_SUCH="n", VETH="y", PACKET="n"), insisted, tmp_path)
    assert told.value.message == "make olddefconfig did not keep CONFIG_PACKET=y, CONFIG_KASAN=y, CONFIG_NO_SUCH=y, CONFIG_VETH=m"
    assert "CONFIG_KASAN depends on !KCSAN; SLUB" in (told.value.hint or "")
    assert "CONFIG_NO_SUCH is no option of these sources" in (told.value.hint or "")


def test_an_option_of_a_flavour_that_is_newer_than_the_sources_is_told(tmp_path: Path) -> None:
    (tmp_path / "Kconfig").write_text("config PROVE_LOCKING\n\tbool\n")
    insisted = flavours.wanted("debug", [])
    assert flavours.check(_kept(insisted, KFENCE="n"), insisted, tmp_path, "debug") == ["KFENCE"]
    with pytest.raises(HostError, match=r"did not keep CONFIG_PROVE_LOCKING=y$"):
        flavours.check(_kept(insisted, KFENCE="n", PROVE_LOCKING="n"), insisted, tmp_path, "debug")


def test_a_fragment_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fragment"
    path.write_text('# why\nCONFIG_A=y\n\n# CONFIG_B is not set\nCONFIG_C="text"\nCONFIG_A=m\n')
    assert flavours.read_fragment(path) == {"A": "m", "B": "n", "C": '"text"'}


@pytest.mark.parametrize("line", ["VETH=y", "CONFIG_VETH", "CONFIG_VETH=", "make"])
def test_a_line_of_a_fragment_that_sets_nothing_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "fragment").write_text(f"CONFIG_A=y\n{line}\n")
    with pytest.raises(UserError, match=f"fragment:2 sets no option: {line}"):
        flavours.read_fragment(tmp_path / "fragment")


def test_a_fragment_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: No such file"):
        flavours.read_fragment(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not a text"):
        flavours.read_fragment(tmp_path / "binary")
