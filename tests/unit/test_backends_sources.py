"""What only a fresh guest can have is refused where guests are not fresh."""

from __future__ import annotations

import asyncio

import pytest

from harness.backends.names import Backend
from harness.backends.sources import source
from harness.errors import UserError
from harness.host.progress import Progress


@pytest.mark.parametrize("backend", ["vagrant", "local", "ssh=box"])
def test_a_kernel_that_was_there_before_gets_no_packages(backend: Backend) -> None:
    with pytest.raises(UserError, match=f"^--with and --backend {backend}: only a fresh guest gets packages$"):
        asyncio.run(source("6.12", Progress(quiet=True), backend, with_packages=("jq",)))
