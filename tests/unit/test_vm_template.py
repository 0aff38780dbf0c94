"""What a template says of the guests that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.vm.qemu import TCG, Machine
from harness.vm.template import Template


@pytest.mark.parametrize(("boot_s", "busy", "slow"), [(28.0, 1.0, 7.0), (140.0, 5.0, 7.0), (3.0, 1.0, 1.0)])
def test_guests_are_not_slow_because_the_host_was_busy_when_their_template_was_made(boot_s: float, busy: float, slow: float) -> None:
    machine = Machine(Path("vmlinuz"), Path("initrd"), (), TCG)
    assert Template(machine, Path("state"), "code", {"cold_boot_s": boot_s, "host_slowness": busy}).slowness == slow
