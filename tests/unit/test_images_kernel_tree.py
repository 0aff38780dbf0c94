"""Reading a developer's kernel tree: what it takes, what it refuses and with which hint, and what tells two builds apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HostError, UserError
from harness.images import config, kernel_tree, layers, treecopy
from harness.images.elf import read_vmlinux
from tests import trees


@pytest.fixture
def tree_of(tmp_path: Path) -> Path:
    return trees.in_tree(tmp_path / "linux")


@pytest.mark.parametrize("spec", ["/usr/src/linux", "./linux", "..", ".", "~/linux", "linux/out", "here"])
def test_a_path_means_a_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert kernel_tree.means_tree(spec)


@pytest.mark.parametrize("spec", ["6.12", "6.12-rt", "6.12.118-1", "6.12.118+deb13-cloud-amd64", "nowhere", ""])
def test_a_version_does_not_even_beside_a_directory_of_that_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "6.12").mkdir()
    assert not kernel_tree.means_tree(spec)


def test_a_tree_built_in_place(tree_of: Path) -> None:
    found = kernel_tree.read(str(tree_of))
    assert (found.build, found.source, found.release) == (tree_of, tree_of, trees.RELEASE)
    assert found.image == tree_of / "vmlinux"
    assert found.modules == (Path("net/netfilter/nf_conntrack.ko"), Path("drivers/net/veth.ko"))
    assert list(found.doubts()) == []
    kernel = found.kernel()
    assert (kernel.release, kernel.series, kernel.flavour, kernel.tree) == (trees.RELEASE, "6.99", "tree", str(tree_of))
    assert kernel.label == f"{trees.RELEASE}#{found.identity[:8]}"


@pytest.mark.parametrize("makefile", ["include {}/Makefile\n", "MAKEARGS := -C {}\n", None])
def test_a_tree_built_elsewhere_knows_its_sources(tmp_path: Path, makefile: str | None) -> None:
    build = trees.out_of_tree(tmp_path)
    if makefile:
        (build / "source").unlink()
        (build / "Makefile").write_text(makefile.format(tmp_path / "linux"))
    found = kernel_tree.read(str(build))
    assert (found.build, found.source) == (build, tmp_path / "linux")
    assert found.make("modules").startswith(f"make -C {tmp_path}/linux O={build} -j")


def test_a_relative_path_a_symbolic_link_and_a_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build = trees.in_tree(tmp_path / "my linux")
    (tmp_path / "link").symlink_to(build)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    specs = ("my linux", "./link", "~/link", str(build))
    assert {kernel_tree.read(spec).kernel() for spec in specs} == {kernel_tree.read(str(build)).kernel()}


def test_a_bzimage_is_taken_where_vmlinux_cannot_boot(tmp_path: Path) -> None:
    build = trees.in_tree(tmp_path, trees.elf(pvh=False))
    os.utime(build / trees.BZIMAGE, (1, 2**31))
    assert kernel_tree.read(str(build)).image == build / trees.BZIMAGE


def test_a_spec_means_the_same_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "linux").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert [kernel_tree.from_anywhere(spec) for spec in ("linux", "~/linux", "6.12")] == [f"{tmp_path}/linux", "/home/me/linux", "6.12"]


def test_a_bzimage_alone_is_enough(tree_of: Path) -> None:
    (tree_of / "vmlinux").unlink()
    assert kernel_tree.read(str(tree_of)).image == tree_of / trees.BZIMAGE


def test_without_modules_none_are_missed(tmp_path: Path) -> None:
    build = trees.in_tree(tmp_path, VETH="y", NF_CONNTRACK="y")
    (build / "modules.order").unlink()
    assert kernel_tree.read(str(build)).modules == ()


def _without(*names: str) -> Callable[[Path], None]:
    def remove(build: Path) -> None:
        for name in names:
            (build / name).unlink()

    return remove


def _with(name: str, content: str | bytes) -> Callable[[Path], None]:
    def write(build: Path) -> None:
        (build / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


@pytest.mark.parametrize(("damage", "kind", "message", "hint"), [
    (_without("Makefile"), UserError, "is not a kernel tree", "name the directory of a built kernel"),
    (_with("Makefile", "include /nowhere/Makefile\n"), HostError, "was built from /nowhere, where no kernel's sources are", "again"),
    (_without(".config"), HostError, "is not built: it has no .config", "if it was built with O=, name that directory"),
    (_without("vmlinux", trees.BZIMAGE), HostError, "it has neither vmlinux nor arch/x86/boot/bzImage", "make -C"),
    (_without("include/config/auto.conf"), HostError, "half built: it lacks include/config/auto.conf", "make -C"),
    (_without("include/config/kernel.release"), HostError, "lacks include/config/kernel.release", "make -C"),
    (_without("scripts/mod/modpost", "tools/objtool/objtool"), HostError, "lacks scripts/mod/modpost, tools/objtool/objtool", "make -C"),
    (_without("scripts/module.lds"), HostError, "lacks scripts/module.lds", "make -C"),
    (_without("Module.symvers", "vmlinux.symvers"), HostError, "lacks Module.symvers", "make -C"),
    (_without("modules.order"), HostError, "half built: its modules are missing", "modules"),
    (_without("drivers/net/veth.ko"), HostError, "its module drivers/net/veth.ko is missing", "modules"),
    (_with(".config", trees.options({"NEW": "y"})), HostError, "was configured anew since it was built", "make -C"),
    (_with(".config", "# Linux/arm64 6.99.0 Kernel Configuration\nCONFIG_ARM64=y\n"), UserError, "configured for arm64", "ARCH=x86_64"),
    (_with("vmlinux", trees.elf(machine=183)), HostError, "is for AArch64", "make -C"),
    (_with("vmlinux", trees.elf(loads=False)), HostError, "holds no code, just type information", "make -C"),
    (_with("vmlinux", trees.elf()[:70]), HostError, "no ELF file, or cut short", "make -C"),
    (_with("vmlinux", b""), HostError, "no ELF file, or cut short", "make -C"),
    (_with("vmlinux", trees.elf(pvh=False)), HostError, "bzImage is older than its vmlinux", "bzImage"),
])  # fmt: skip
def test_what_is_no_whole_build_is_told_with_its_hint(
    tree_of: Path, damage: Callable[[Path], None], kind: type[UserError | HostError], message: str, hint: str
) -> None:
    os.utime(tree_of / trees.BZIMAGE, (1, 1))
    damage(tree_of)
    with pytest.raises(kind) as caught:
        kernel_tree.read(str(tree_of))
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_what_cannot_be_read_is_the_users_to_mend(tree_of: Path) -> None:
    (tree_of / "Module.symvers").unlink()
    (tree_of / "Module.symvers").symlink_to("Module.symvers")
    (tree_of / "vmlinux.symvers").unlink()
    (tree_of / "vmlinux.symvers").mkdir()
    with pytest.raises(UserError, match=r"vmlinux.symvers: Is a directory"):
        kernel_tree.read(str(tree_of))


def test_what_is_not_there_and_what_is_a_file(tree_of: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such directory"):
        kernel_tree.read(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="is a file, not a kernel tree") as caught:
        kernel_tree.read(str(tree_of / trees.BZIMAGE))
    assert caught.value.hint == f"--kernel {tree_of}"


@pytest.mark.parametrize("change", [
    _with("vmlinux", trees.elf(b"\x02" * 20)),
    _with("net/netfilter/nf_conntrack.ko", "another"),
    _with("vmlinux.symvers", "0x3\tnf_hook_slow\tvmlinux\tEXPORT_SYMBOL\t\n"),
], ids=["vmlinux", "a module", "an export"])  # fmt: skip
def test_another_build_is_another_kernel(tree_of: Path, change: Callable[[Path], None]) -> None:
    before = kernel_tree.read(str(tree_of)).kernel()
    assert kernel_tree.read(str(tree_of)).kernel() == before
    assert kernel_tree.is_current(before)
    change(tree_of)
    after = kernel_tree.read(str(tree_of)).kernel()
    assert (after.release, after.tree) == (before.release, before.tree)
    assert layers.layer_path(after) != layers.layer_path(before)
    assert not kernel_tree.is_current(before)


def test_equal_vmlinux_without_a_build_id_are_told_apart_by_content(tmp_path: Path) -> None:
    one, other = (trees.elf(None) + byte for byte in (b"1", b"2"))
    ids = []
    for content in (one, other):
        (tmp_path / "vmlinux").write_bytes(content)
        ids.append(read_vmlinux(tmp_path / "vmlinux").build_id)
    assert ids[0] != ids[1]


def test_an_edit_that_is_not_built_yet_is_a_doubt(tree_of: Path) -> None:
    later = (tree_of / "vmlinux").stat().st_mtime + 60
    os.utime(tree_of / "net/netfilter/core.c", (later, later))
    (doubt,) = kernel_tree.read(str(tree_of)).doubts()
    assert doubt.startswith("net/netfilter/core.c is newer than the build, which is what runs: make -C")


def test_modules_of_an_earlier_vmlinux_are_a_doubt(tree_of: Path) -> None:
    later = (tree_of / "net/netfilter/core.c").stat().st_mtime + 60
    os.utime(tree_of / "vmlinux", (later, later))
    (doubt,) = kernel_tree.read(str(tree_of)).doubts()
    assert doubt.startswith("its modules are older than its vmlinux")


def test_exports_are_those_of_the_last_vmlinux_and_of_the_modules(tree_of: Path) -> None:
    assert list(kernel_tree.symvers(tree_of)) == [
        "0x1\tnf_hook_slow\tvmlinux\tEXPORT_SYMBOL\t\n",
        "0x2\tnf_ct_get\tnet/netfilter/nf_conntrack\tEXPORT_SYMBOL\t\n",
    ]


def test_exports_of_an_earlier_vmlinux_do_not_stand_beside_newer_ones(tree_of: Path) -> None:
    (tree_of / "vmlinux.symvers").write_text("0x7\tnf_hook_slow\tvmlinux\tEXPORT_SYMBOL\t\n0x8\tnf_ct_get\tvmlinux\tEXPORT_SYMBOL\t\n")
    earlier = (tree_of / "Module.symvers").stat().st_mtime - 3600
    os.utime(tree_of / "vmlinux.symvers", (earlier, earlier))
    assert list(kernel_tree.symvers(tree_of)) == (tree_of / "Module.symvers").read_text().splitlines(keepends=True)


def test_what_has_moved_into_vmlinux_is_exported_once(tree_of: Path) -> None:
    (tree_of / "vmlinux.symvers").write_text("0x8\tnf_ct_get\tvmlinux\tEXPORT_SYMBOL\t\n")
    later = (tree_of / "Module.symvers").stat().st_mtime + 60
    os.utime(tree_of / "vmlinux.symvers", (later, later))
    assert list(kernel_tree.symvers(tree_of)) == ["0x8\tnf_ct_get\tvmlinux\tEXPORT_SYMBOL\t\n"]


@pytest.mark.parametrize("what", ["vmlinux", "include/config/auto.conf"])
def test_a_configured_tree_says_what_it_lacks_before_it_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    build = trees.in_tree(tmp_path / "linux", KPROBES=None)
    for name in (what, trees.BZIMAGE):
        (build / name).unlink()
    with pytest.raises(HostError, match="it has to be built with CONFIG_KPROBES") as caught:
        kernel_tree.read(str(build))
    assert "merge_config.sh" in (caught.value.hint or "")


def test_a_32_bit_configuration_is_kept_and_merged_with_the_fragment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    build = trees.in_tree(tmp_path / "linux", X86_64=None, X86_32="y")
    with pytest.raises(UserError, match="configured for 32-bit x86") as caught:
        kernel_tree.read(str(build))
    assert "merge_config.sh" in (caught.value.hint or "") and "defconfig" not in (caught.value.hint or "").replace("olddefconfig", "")
    assert "CONFIG_64BIT=y" in (tmp_path / "state/nfharness.config").read_text().splitlines()


def test_the_fragment_makes_modules_of_what_rules_load_and_unload() -> None:
    merged = config.options("\n".join(config.fragment()))
    assert {merged[name] for name in ("NF_CONNTRACK", "NF_NAT", "NF_CT_NETLINK", "NFT_REDIR", "NFT_DUP_IPV4")} == {"m"}
    assert merged["NETFILTER_NETLINK_GLUE_CT"] == "y"


def test_the_fragment_offers_sanitizers_and_sets_none() -> None:
    lines = list(config.fragment())
    assert {"#CONFIG_KASAN=y", "#CONFIG_KCSAN=y", "#CONFIG_PROVE_LOCKING=y", "#CONFIG_DEBUG_KMEMLEAK=y"} <= set(lines)
    assert not {"KASAN", "KCSAN"} & config.options("\n".join(lines)).keys()


def test_conntrack_that_is_built_in_is_told_what_is_not_checked_on_it() -> None:
    assert [*config.wished(config.options(trees.options({"NF_CONNTRACK": "y"})))] == ["CONFIG_NF_CONNTRACK=m"]


@pytest.mark.parametrize("make", [lambda path: trees.in_tree(path / "linux"), trees.out_of_tree], ids=["in place", "elsewhere"])
def test_headers_are_sources_and_objects_in_one_place_and_the_tree_stays_as_it_is(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    build = make(tmp_path / "own")
    found, to = kernel_tree.read(str(build)), tmp_path / "headers"
    (found.source / "scripts/dummy-tools").mkdir()
    (found.source / "scripts/dummy-tools/nm").symlink_to("ld")  # the kernel's sources have such links
    before = trees.snapshot(tmp_path / "own")
    treecopy.copy_headers(found, to)
    assert (to / "scripts/dummy-tools/nm").readlink() == Path("ld")
    copied = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    assert copied == {
        "Makefile", "arch/x86/Makefile", "arch/x86/Makefile_32.cpu", "arch/x86/include/asm/page.h", "include/linux/netfilter.h",
        "include/net/netfilter/nf_queue.h", "scripts/Makefile.build", "scripts/kconfig/merge_config.sh", ".config", "Module.symvers",
        "include/generated/autoconf.h", "include/generated/utsrelease.h", "include/config/auto.conf", "include/config/kernel.release",
        "arch/x86/include/generated/asm/unistd_64.h", "scripts/basic/fixdep", "scripts/mod/modpost", "scripts/module.lds",
        "tools/objtool/objtool",
    }  # fmt: skip
    assert trees.snapshot(tmp_path / "own") == before


def test_all_lacking_options_are_named_at_once_with_the_fragment_that_brings_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    build = trees.in_tree(tmp_path / "linux", KPROBES=None, BUG=None, MODULE_SIG_FORCE="y")
    with pytest.raises(HostError) as caught:
        treecopy.check_options(kernel_tree.read(str(build)))
    assert caught.value.message == f"{build} has to be built with CONFIG_KPROBES, CONFIG_BUG, CONFIG_MODULE_SIG_FORCE off"
    fragment = tmp_path / "state/nfharness.config"
    merge = f"{build}/scripts/kconfig/merge_config.sh -m -O {build} {build}/.config {fragment}"
    assert (caught.value.hint or "").startswith(f"merge what is needed: {merge} && make -C {build} ")
    merged = config.options(fragment.read_text())
    assert (config.unmet(merged), config.wished(merged)) == ([], {})


def test_what_rules_need_is_named_with_what_is_not_checked_without_it() -> None:
    found = config.options(trees.options({"NETFILTER_EGRESS": None}))
    assert (config.unmet(found), config.wished(found)) == ([], {"CONFIG_NETFILTER_EGRESS": "a device's egress"})


def test_a_kernel_without_retpolines_is_told_what_may_not_be_seen_on_it() -> None:
    assert [*config.wished(config.options(trees.options({"RETPOLINE": None})))] == ["CONFIG_MITIGATION_RETPOLINE"]
    assert config.wished(config.options(trees.options({"RETPOLINE": None, "MITIGATION_RETPOLINE": "y"}))) == {}
