"""What ``vagrant/Vagrantfile`` asks of us: which box, what machine, and to take away what libvirt keeps of boxes."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable

from harness.boxes.box import Provider, VagrantBox, box, box_of, box_path
from harness.errors import HostError
from harness.host import process
from harness.host.deadlines import Deadline
from harness.host.progress import Progress
from harness.images.specs import made_layer, resolved
from harness.vm.acceleration import accelerator, proved, remembered
from harness.vm.qemu import KVM, MEMORY, TCG, Accelerator

__all__ = ("clean", "described", "machine_name", "made", "unused")

_POOL = "default"
_DEADLINE_S = 60
#: An upload writes without a pause.
_SETTLED_S = 5
_LOOK_S = 0.5
#: The volume that vagrant-libvirt makes of a box of ours.
_BASE = re.compile(r"nfharness-VAGRANTSLASH-.*_vagrant_box_image_.*\.img")


def machine_name(spec: str) -> str:
    """What the project's Vagrantfile calls the machine of a kernel."""
    return "kernel-" + re.sub(r"[^A-Za-z0-9.]+", "-", spec).strip("-")


async def made(spec: str, provider: Provider, progress: Progress) -> tuple[VagrantBox, Accelerator]:
    """The box of the kernel that *spec* means, and how a machine of it is to be accelerated here.

    :raises UserError: no such kernel
    :raises HostError: the host lacks something, no room
    """
    if not shutil.which("qemu-img"):
        raise HostError("qemu-img is not installed", hint="apt-get install qemu-utils")
    layer = made_layer(spec, progress)
    return box(layer, provider, progress), await proved(layer, progress)


async def described(spec: str, provider: Provider, progress: Progress, *, ready: bool) -> dict[str, object]:
    """The machine of a kernel.

    :param ready: build the box first, if it is not there
    :raises NfharnessError: as :func:`made`
    """
    if ready:
        found, acceleration = await made(spec, provider, progress)
    else:
        proof = remembered()
        found, acceleration = box_of(box_path(resolved(spec, progress), provider)), accelerator(proof) if proof else TCG
    kvm = acceleration is KVM
    # Emulated processors must not run at once: a guest panics when a static key is patched under traffic. libvirt cannot ask for that.
    return {"machine": machine_name(spec), "box": found.name, "version": found.version, "catalogue": str(found.catalogue), "kvm": kvm,
            "processors": 2 if kvm else 1, "memory": MEMORY}


def clean() -> list[str]:
    """Delete the volumes of our boxes that no machine's disk lies on; their names.

    This waits for one that is being written: the process that uploads it makes a machine's disk on it then.

    :raises HostError: libvirt does not answer
    """
    deleted: list[str] = []
    deadline = Deadline(_DEADLINE_S)
    while deadline.left():
        volumes = _volumes()
        found = unused(volumes)
        settled = [name for name in found if _written(volumes[name]) < time.time() - _SETTLED_S]
        for name in settled:
            _virsh("vol-delete", "--pool", _POOL, name)
        deleted += settled
        if settled == found:
            break
        time.sleep(_LOOK_S)
    return deleted


def _volumes() -> dict[str, str]:
    """Name → description of all in the pool, if there is any of ours."""
    if _POOL not in _virsh("pool-list", "--name").split():
        return {}
    names = [line.split()[0] for line in _virsh("vol-list", _POOL).splitlines()[2:] if line.strip()]
    return {name: _virsh("vol-dumpxml", "--pool", _POOL, name) for name in names} if any(map(_BASE.fullmatch, names)) else {}


def unused(volumes: dict[str, str]) -> list[str]:
    """The volumes of our boxes on which no other volume lies.

    :param volumes: name → description, in libvirt's XML
    """
    beneath = {path.rpartition("/")[2] for text in volumes.values() for path in _backing(text)}
    return [name for name in volumes if _BASE.fullmatch(name) and name not in beneath]


def _written(text: str) -> float:
    """When a volume was last written, in seconds since 1970; 0 where its pool does not know.

    :param text: its description
    """
    found = re.search(r"<mtime>([0-9.]+)</mtime>", text)
    return float(found[1]) if found else 0.0


def _backing(text: str) -> Iterable[str]:
    return re.findall(r"<backingStore>\s*<path>([^<]*)</path>", text)


def _virsh(*arguments: str) -> str:
    command = ["virsh", "--connect", "qemu:///system", *arguments]
    hint = "see 'nfharness doctor --backend vagrant'"
    try:
        done = process.captured(command, _DEADLINE_S)
    except FileNotFoundError:
        raise HostError("virsh is not installed", hint="apt-get install libvirt-clients") from None
    except TimeoutError as late:
        raise HostError(f"libvirt did not answer {late}", hint=hint) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise HostError(f"virsh {arguments[0]}: {said[-1].removeprefix('error: ')}", hint=hint)
    return done.stdout
