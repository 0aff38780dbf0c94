"""The tracer's programs, compiled on the host, are those that the guest's own BCC makes."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from harness.backends.sources import open_guest
from harness.host.progress import Progress
from harness.images.layers import Layer, layer_path
from harness.images.userland import userland_path
from harness.trace.bytecode import relocated
from harness.vm.bytecode import programs
from harness.vm.channel import Request

CODE = "/run/nfharness/code"
pytestmark = pytest.mark.slow

_IN_THE_GUEST = """
import json
from harness.guest.tracing import placed
from harness.trace.bytecode import compiled
source = placed().source
print(json.dumps({"source": source, "compiled": compiled(source)}))
"""


@pytest.mark.parametrize("kernel", ["5.10", "7.3"])
def test_host_and_guest_compile_to_the_same(kernel: str, tmp_path: Path) -> None:
    async def asked() -> tuple[Layer, dict[str, Any]]:
        async with open_guest(kernel, Progress(quiet=True)) as opened:
            status, out, err = await opened.guest.output(Request(argv=["python3", "-c", _IN_THE_GUEST], env={"PYTHONPATH": CODE}))
            assert status == 0, err
            return Layer(opened.kernel, layer_path(opened.kernel)), json.loads(out)

    layer, there = asyncio.run(asked())
    here = programs(there["source"], layer, userland_path(), tmp_path)
    assert without_marks(here) == without_marks(there["compiled"])
    assert len(here["programs"]) > 20
    assert list(tmp_path.iterdir()) == [tmp_path / "programs.log"]


def without_marks(code: dict[str, Any]) -> dict[str, Any]:
    """Byte code whose tables have their places in the list of their names for descriptors."""
    numbers = {code["tables"][name]["mark"]: number for number, name in enumerate(sorted(code["tables"]))}
    return {"license": code["license"],
            "programs": {name: relocated(base64.b64decode(text), numbers) for name, text in code["programs"].items()},
            "tables": {name: {**table, "mark": None} for name, table in code["tables"].items()}}
