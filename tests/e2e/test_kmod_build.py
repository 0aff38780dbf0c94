"""Building nfharness.ko, with every warning that the kernel's own build knows."""

from __future__ import annotations

import re

import pytest

from harness.host.progress import Progress
from harness.images import kernels
from harness.images.kmodule import module
from harness.images.layers import layer, layer_path
from harness.images.userland import userland

pytestmark = pytest.mark.slow


def test_the_module_compiles_without_a_warning(pytestconfig: pytest.Config) -> None:
    progress = Progress(quiet=True)
    root = userland(progress)
    for spec in pytestconfig.getoption("--kernel") or [kernels.DEFAULT]:
        kernel = kernels.resolve(spec, at_hand=lambda candidate: layer_path(candidate).is_dir())
        log = (module(layer(kernel, root, progress), root, progress, arguments="W=1") / "build.log").read_text()
        assert "CC [M]" in log
        assert re.findall(r"^\S+:\d+:\d+: warning: .*|^WARNING: .*", log, re.MULTILINE) == []
