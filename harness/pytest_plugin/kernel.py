"""The kernel that a test runs on, as the test sees it."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pytest

from harness.outcome.profile import KernelProfile

__all__ = ("RunningKernel",)


class RunningKernel:
    """:ivar spec: as ``--kernel`` names it; :ivar profile: what probing its hook core found when its template was made"""

    def __init__(self, spec: str, profile: KernelProfile) -> None:
        self.spec = spec
        self.profile = profile
        self.release = platform.release()

    def __repr__(self) -> str:
        return f"<kernel {self.release}>"

    @cached_property
    def config(self) -> Mapping[str, str]:
        """The kernel's configuration: ``config["CONFIG_NF_TABLES"] == "m"``; what is not set is not in it.

        :raises FileNotFoundError: the kernel came without
        """
        places = (Path("/lib/modules", self.release, "config"), Path("/boot", f"config-{self.release}"),
                  Path("/lib/modules", self.release, "build/.config"))
        found = next((place for place in places if place.exists()), places[0])
        return dict(re.findall(r"^(CONFIG_\w+)=\"?(.*?)\"?$", found.read_text(), re.MULTILINE))

    def require(self, *options: str, probe: str | None = None) -> None:
        """Skip the test where the kernel lacks a feature. That a kernel has a bug is no reason to skip: see the marker ``known_bug``.

        :param options: of the configuration, with or without ``CONFIG_``; built in or as modules
        :param probe: name of a field of :class:`KernelProfile` that must be true
        """
        for option in options:
            name = option if option.startswith("CONFIG_") else f"CONFIG_{option}"
            if self.config.get(name) not in ("y", "m"):
                pytest.skip(f"{self.release} is built without {name}")
        if probe is not None and not getattr(self.profile, probe):
            pytest.skip(f"{self.release} has no {probe.replace('_', ' ')}, a probe says")
