"""``nfharness vagrant``: the box, and what ``vagrant/Vagrantfile`` asks."""

from __future__ import annotations

import asyncio
import json

import click

from harness.boxes.box import PROVIDERS, Provider
from harness.cli.options import kernel_option
from harness.cli.say import say
from harness.host.progress import Progress

__all__ = ("command",)

_provider_option = click.option("--provider", type=click.Choice(PROVIDERS), default="libvirt", show_default=True,
                                help="whose format the box has; vagrant-qemu takes libvirt's")  # fmt: skip


@click.group("vagrant")
def command() -> None:
    """Build a Vagrant box from the images that every guest has, and clean up after it."""


@command.command("box")
@kernel_option
@_provider_option
def box(spec: str, provider: Provider) -> None:
    """Build the box of a kernel, if it is not there, and print its path.

    'vagrant up' in the checkout's vagrant/ does that by itself; NFHARNESS_KERNEL chooses the kernel there.
    """
    from harness.boxes.vagrantfile import made  # noqa: PLC0415 - not before the options are known to be right

    say(str(asyncio.run(made(spec, provider, Progress()))[0].file))


@command.command("machine", hidden=True)
@kernel_option
@_provider_option
@click.option("--ready", is_flag=True, help="Build the box if it is not there.")
def machine(spec: str, provider: Provider, ready: bool) -> None:
    """Print as JSON what vagrant/Vagrantfile needs to know of the machine of a kernel."""
    from harness.boxes.vagrantfile import described  # noqa: PLC0415

    print(json.dumps(asyncio.run(described(spec, provider, Progress(), ready=ready)), indent=1))


@command.command("clean")
def clean() -> None:
    """Delete the volumes that libvirt keeps of our boxes, less those that a machine's disk lies on.

    'vagrant destroy' in the checkout's vagrant/ does that by itself. Boxes that Vagrant keeps go with 'vagrant box prune'.
    """
    from harness.boxes.vagrantfile import clean as deleted  # noqa: PLC0415

    for name in deleted():
        say(f"deleted volume {name}")
