"""``--kernel DIRECTORY``: a tree that a developer built. Here it is Debian's kernel, arranged as a build with ``O=`` leaves it."""

from __future__ import annotations

import json
import lzma
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.conformance import RULES
from harness.conformance.bundle import save
from harness.conformance.judge import judge
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.images import kernels
from harness.images.kernel_tree import read
from harness.images.kernels import Kernel
from harness.images.kmodule import MODULE, module
from harness.images.layers import Layer, layer_path
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from tests.e2e.conftest import CommandLine
from tests.trees import snapshot

pytestmark = pytest.mark.slow

#: Of its modules; the rest are not needed here.
_MODULES = ("net", "lib", "crypto", "arch", "fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/overlayfs", "drivers/net/veth.ko",
            "drivers/block/virtio_blk.ko")  # fmt: skip


def _arrange(layer: Layer, build: Path) -> None:
    """A build's directory out of a kernel's headers, its image and its modules."""
    headers = next((layer.root / "usr/src").glob("linux-headers-*-cloud-amd64"))
    source = next((layer.root / "usr/src").glob("linux-headers-*-common"))
    shutil.copytree(headers, build)
    (build / "vmlinux").unlink()
    # Debian's is a script that chooses among several.
    (build / "tools/objtool/objtool.real-x86").replace(build / "tools/objtool/objtool")
    (build / "source").symlink_to(source)
    dumped = build.with_name("modules")
    dumped.mkdir()
    modules = layer.root / "usr/lib/modules" / layer.kernel.release
    dump = f"rdump /usr/lib/modules/{layer.kernel.release}/kernel {dumped}"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run(["debugfs", "-R", dump, str(layer.image)], check=True, capture_output=True, env={**os.environ, "PATH": path})
    taken = []
    for line in (modules / "modules.order").read_text().splitlines():
        name = Path(f"{line.removeprefix('kernel/').partition('.ko')[0]}.ko")
        found = next((dumped / "kernel").glob(f"{name}*"), None)
        if found and name.as_posix().startswith(_MODULES):
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            (build / name).write_bytes(lzma.decompress(found.read_bytes()) if found.suffix == ".xz" else found.read_bytes())
            taken.append(name.with_suffix(".o"))
    shutil.rmtree(dumped)
    (build / "modules.order").write_text("".join(f"{name}\n" for name in taken))
    for listed in ("modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(modules / listed, build)
    (build / "arch/x86/boot").mkdir()
    shutil.copy(layer.vmlinuz, build / "arch/x86/boot/bzImage")


@pytest.fixture(scope="module")
def build(ready: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The build's directory, with a space in its path; whatever is done with it, nothing is written there."""
    build = tmp_path_factory.mktemp("own") / "my kernel"
    kernel = kernels.resolve("6.12", progress=Progress(quiet=True))
    _arrange(Layer(kernel, layer_path(kernel)), build)
    before = snapshot(build)
    yield build
    assert snapshot(build) == before


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line with its own cache, which has the userland."""
    cache = tmp_path_factory.mktemp("cache")
    for name in ("apt", "userland", "acceleration.json"):
        (cache / name).symlink_to(cache_dir() / name)
    return CommandLine({"NFHARNESS_CACHE": str(cache), "NFHARNESS_MIRROR": "http://127.0.0.1:1/debian"})


@pytest.fixture(scope="module")
def used(cache: CommandLine, build: Path) -> CommandLine:
    """The command line after the tree has been used."""
    result = cache("exec", "--kernel", str(build), "--", "uname", "-r")
    assert result.status == 0, result
    assert result.out.decode().strip() == read(str(build)).release
    return cache


def test_rules_hold_on_it(used: CommandLine, build: Path) -> None:
    result = used("check", "--json", "order.equal-newest-first", "netns.isolated", "--kernel", str(build))
    assert result.status == 0, result
    document = json.loads(result.out)
    (kernel,) = document["kernels"]
    assert (kernel["tree"], kernel["version"]) == (str(build), read(str(build)).identity)
    assert [(one["kernel"], one["state"]) for one in document["results"]] == [(kernel["kernel"], "conformant")] * 2


def test_a_link_to_it_is_the_same_kernel_and_nothing_is_made_anew(used: CommandLine, build: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(build)
    result = used("exec", "--kernel", str(tmp_path / "link"), "--", "modinfo", "-F", "vermagic", "/run/nfharness/nfharness.ko")
    assert result.status == 0, result
    assert result.out.decode().startswith(read(str(build)).release)
    assert "template: booting" not in result.err


def test_a_bundle_of_it_is_replayed_on_it(used: CommandLine, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    one = RULES["order.stable"].scripts[0]
    judged = judge(one, KernelProfile(), Outcome((), predict(one.scenario).packets))
    bundle = save("order.stable", judged, {"release": read(str(build)).release, "tree": str(build)}, "")
    refused = used("replay", "--json", str(bundle))
    assert (refused.status, refused.error) == (2, [
        f"nfharness: error: the bundle's kernel was built in {build}, which a bundle may not choose",
        f"  hint: if that is a tree of yours: --kernel {shlex.quote(str(build))}",
    ])  # fmt: skip
    result = used("replay", "--json", "--kernel", str(build), str(bundle))
    assert result.status == 0, result
    assert json.loads(result.out)["kernel"]["tree"] == str(build)


def test_it_is_listed_and_examined_and_its_template_is_current(used: CommandLine, build: Path) -> None:
    (listed,) = [one for one in json.loads(used("kernels", "--json").out) if one.get("tree")]
    assert (listed["tree"], listed["here"], listed["version"]) == (str(build), f"template of {build}", read(str(build)).identity)
    (examined,) = [one for one in json.loads(used("doctor", "--json").out) if one["name"] == f"kernel {build}"]
    assert examined["state"] in ("ok", "slow")
    there = json.loads(used("image", "list", "--json").out)
    # Copies of templates are this user's, whichever cache they are of.
    current = {one["kind"]: one["current"] for one in there if one["kind"] != "template's copy"}
    assert current == {"userland": True, "kernel layer": True, "module": True, "template": True}


def test_a_template_with_everything_takes_the_place_of_the_lean_one(used: CommandLine, build: Path) -> None:
    lean, = _templates(used)
    result = used("exec", "--kernel", str(build), "--python", "--", "-c", "import sys; print('pytest' in sys.modules)")
    assert (result.status, result.out) == (0, b"True\n"), result
    everything, = _templates(used)
    assert everything != lean
    result = used("check", "order.ascending", "--kernel", str(build))
    assert result.status == 0, result
    assert "booting" not in result.err
    assert _templates(used) == {everything}


def _templates(used: CommandLine) -> set[str]:
    """Templates that are here, this user's copies apart."""
    return {one["path"] for one in json.loads(used("image", "list", "--json").out) if one["kind"] == "template"}


def test_what_it_lacks_is_told_before_anything_is_made(cache: CommandLine, build: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(build, other, symlinks=True)
    for name in (".config", "include/config/auto.conf"):
        text = (other / name).read_text().splitlines(keepends=True)
        (other / name).write_text("".join(line for line in text if not line.startswith(("CONFIG_KPROBES=", "CONFIG_NET_NS="))))
    result = cache("run", "--kernel", str(other))
    assert result.status == 125
    assert result.error[0] == f"nfharness: error: {other} has to be built with CONFIG_KPROBES, CONFIG_NET_NS"
    assert "merge_config.sh" in result.error[1]


_KBUILD = """
modules:
	! touch written 2>/dev/null
	echo 'int told;' | $(CC) -g -x c -c - -o $(M)/nfharness.ko
	test -f $(M)/netlink.c && echo built with $(CC) in $(CURDIR)
"""


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("make")), reason="this host has no compiler")
def test_its_module_is_built_with_the_compiler_that_built_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose headers are short here, as the tools of Debian's need not run on this host."""
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path / "a cache"))
    version = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    layer = Layer(Kernel("6.99.0-own", "1234567890", "6.99", "tree", (), tree="/home/me/linux"), tmp_path / "a cache/kernels/own")
    headers = layer.root / "usr/lib/modules/6.99.0-own/build"
    headers.mkdir(parents=True)
    (headers / "Makefile").write_text(_KBUILD)
    (layer.path / "config").write_text(f'CONFIG_CC_VERSION_TEXT="{version}"\n')
    built = module(layer, tmp_path / "no userland", Progress(quiet=True))
    assert "built with gcc in /usr/src/headers" in (built / "build.log").read_text()
    stripped, whole = ((built / name).read_bytes() for name in (MODULE, "nfharness-debug.ko"))
    assert (stripped[:4], b".debug_info" in stripped, b".debug_info" in whole) == (b"\x7fELF", False, True)
    assert not (headers / "written").exists()
