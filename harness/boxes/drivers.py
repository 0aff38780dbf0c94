"""Drivers for disks that only a Vagrant machine has, as an initial RAM disk that goes on where the kernel's own ends.

No other guest has an IDE disk; VirtualBox has it in every version, and every flavour has its driver, unlike AHCI's.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.errors import HostError
from harness.host import process
from harness.host.store import remove_tree
from harness.images.layers import Layer
from harness.images.userland import in_chroot

__all__ = ("DRIVERS", "IDE_CONTROLLER", "disk_drivers", "in_order", "lacking")

#: PCI vendor and device of the controller that VirtualBox calls PIIX4.
IDE_CONTROLLER = "v00008086d00007111"
#: For that controller, and for disks of it.
DRIVERS = ("ata_piix", "sd_mod")
_SCRIPT = """
cd /boot/initrd.d
for file in modules/*; do
    case $file in
        *.xz) xz -d "$file" ;;
        *.zst) zstd -qd --rm "$file" ;;
    esac
done
find . | cpio --quiet -o -H newc > /boot/initrd
"""


def lacking(layer: Layer) -> list[str]:
    """Drivers that the kernel has neither built in nor as modules."""
    directory = _modules(layer)
    known = _names((directory / "modules.dep").read_text().split()) | _names((directory / "modules.builtin").read_text().split())
    return [name for name in DRIVERS if name not in known]


def in_order(dependencies: str) -> list[str]:
    """Paths of the drivers' modules and of those that they need, in the order to load them in.

    :param dependencies: depmod's ``modules.dep``, where each module has what it needs, the first needed last
    """
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in dependencies.splitlines())}
    wanted = [path for name in DRIVERS for path in needs if _names([path]) == {name}]
    return list(dict.fromkeys(one for path in wanted for one in (*reversed(needs[path]), path)))


def disk_drivers(layer: Layer, userland: Path, new: Path) -> Path | None:
    """The initial RAM disk, in the directory *new*; None if the kernel has all of it built in.

    :raises HostError: debugfs, cpio
    """
    log, upper, relative = new / "build.log", new / "drivers", _modules(layer).relative_to(layer.root)
    modules = upper / "boot/initrd.d/modules"
    modules.mkdir(parents=True)
    # Those of the kernel's own initial RAM disk are numbered from 101.
    for number, path in enumerate(in_order((_modules(layer) / "modules.dep").read_text()), start=501):
        taken = modules / f"{number}-{Path(path).name}"
        # Its modules are in the layer's image alone.
        dump = ["debugfs", "-R", f'dump "/{relative}/{path}" "{taken.name}"', str(layer.image)]
        process.run(process.bound(dump), what=f"taking {Path(path).name} from {layer.image.name}", log=log, timeout=60, cwd=modules)
        if not taken.exists() or not taken.stat().st_size:
            raise HostError(f"{path} is not in {layer.image}", hint="nfharness image prune, then try again")
    made = new / "initrd-disk" if any(modules.iterdir()) else None
    if made:
        in_chroot(userland / "root", upper, _SCRIPT, log, what="packing the disk's drivers")
        shutil.move(upper / "boot/initrd", made)
    for leftover in (upper, new / f".{upper.name}.merged", new / f".{upper.name}.work"):
        remove_tree(leftover)
    return made


def _modules(layer: Layer) -> Path:
    return layer.root / "usr/lib/modules" / layer.kernel.release


def _names(paths: list[str]) -> set[str]:
    return {re.sub(r"\.ko(\.\w+)?:?$", "", path.rpartition("/")[2]).replace("-", "_") for path in paths}
