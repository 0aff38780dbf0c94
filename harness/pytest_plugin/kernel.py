"""The kernel that a test runs on, as the test sees it."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path

import pytest

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin.mistakes import chosen, of_kind

__all__ = ("RunningKernel",)


class RunningKernel:
    """The kernel that a test runs on.

    :ivar spec: as ``--kernel`` names it
    :ivar profile: what probing its hook core found when its template was made
    """

    def __init__(self, spec: str, profile: KernelProfile) -> None:
        self.spec = spec
        self.profile = profile
        self.release = platform.release()

    def __repr__(self) -> str:
        return f"<kernel {self.release}>"

    @cached_property
    def config(self) -> Mapping[str, str]:
        """The kernel's configuration: ``config["CONFIG_NF_TABLES"] == "m"``, with or without ``CONFIG_``; what is not set is not in it.

        :raises FileNotFoundError: the kernel came without
        """
        options = dict(re.findall(r"^(CONFIG_\w+)=\"?(.*?)\"?$", self._configuration, re.MULTILINE))
        return options | {name.removeprefix("CONFIG_"): value for name, value in options.items()}

    @cached_property
    def _configuration(self) -> str:
        places = (Path("/lib/modules", self.release, "config"), Path("/boot", f"config-{self.release}"),
                  Path("/lib/modules", self.release, "build/.config"))
        found = next((place for place in places if place.exists()), places[0])
        return found.read_text()

    def require(self, *options: str, probe: str | None = None) -> None:
        """Skip the test where the kernel lacks a feature. That a kernel has a bug is no reason to skip: see the marker ``known_bug``.

        :param options: of the configuration, with or without ``CONFIG_``; built in or as modules
        :param probe: name of a field of :class:`KernelProfile` that must be true
        :raises Mistake: the profile has no such field
        """
        for option in options:
            of_kind("the option", option, str, '"NF_TABLES"')
            name = option if option.startswith("CONFIG_") else f"CONFIG_{option}"
            if self.config.get(name) not in ("y", "m"):
                pytest.skip(f"{self.release} is built without {name}{_unknown(name, self._configuration)}")
        probes = {one.name: one.name for one in fields(self.profile)}
        if probe is not None and not getattr(self.profile, chosen("probe", probe, probes)):
            pytest.skip(f"{self.release} has no {probe.replace('_', ' ')}, a probe says")


def _unknown(name: str, configuration: str) -> str:
    """What else there is to say of an option that is neither set nor "not set": the kernel is older than it, or the name is wrong."""
    known = set(re.findall(r"^(?:# )?(CONFIG_\w+)(?:=| is not set$)", configuration, re.MULTILINE))
    if name in known:
        return ""
    near = sorted(one.removeprefix("CONFIG_") for one in known if _slip_apart(one, name.upper()))
    return ", an option that its configuration does not know" + (f"; did you mean {near[0]}?" if near else "")


def _slip_apart(one: str, other: str) -> bool:
    """Whether one character that is missing, too many or wrong, or two that changed places, are all that differs."""
    start = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))
    left, right = one[start:], other[start:]
    swapped = left[1::-1] == right[:2] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]
