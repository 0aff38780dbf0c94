"""The kernel that a test runs on, as the test sees it."""

from __future__ import annotations

import platform
import re
from dataclasses import fields
from functools import cached_property
from pathlib import Path

import pytest

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin.mistakes import Mistake, chosen, of_kind

__all__ = ("Configuration", "RunningKernel")


class NoSuchOption(Mistake, KeyError):
    """A kernel's configuration does not set an option."""

    __module__ = "builtins"


class Configuration(dict[str, str]):
    """What a kernel's configuration sets, with and without ``CONFIG_``.

    :param release: the kernel's
    :param text: of its ``.config``
    """

    def __init__(self, release: str, text: str) -> None:
        options = dict(re.findall(r"^(CONFIG_\w+)=\"?(.*?)\"?$", text, re.MULTILINE))
        super().__init__(options | {name.removeprefix("CONFIG_"): value for name, value in options.items()})
        self._release, self._text = release, text

    def __missing__(self, name: object) -> str:
        option = str(name) if str(name).startswith("CONFIG_") else f"CONFIG_{name}"
        raise NoSuchOption(f"{self._release} is built without {self.named(option)}",
                           hint='config.get(…) is None for what is not set; require(…) skips the test')

    def named(self, option: str) -> str:
        """An option that is not set, and if it is not even "not set": the kernel is older than it, or the name is wrong."""
        known = set(re.findall(r"^(?:# )?(CONFIG_\w+)(?:=| is not set$)", self._text, re.MULTILINE))
        if option in known:
            return option
        near = sorted(one.removeprefix("CONFIG_") for one in known if _slip_apart(one, option.upper()))
        return f"{option}, an option that its configuration does not know" + (f"; did you mean {near[0]}?" if near else "")


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
    def config(self) -> Configuration:
        """The kernel's configuration: ``config["CONFIG_NF_TABLES"] == "m"``, with or without ``CONFIG_``; what is not set is not in it.

        :raises FileNotFoundError: the kernel came without
        """
        places = (Path("/lib/modules", self.release, "config"), Path("/boot", f"config-{self.release}"),
                  Path("/lib/modules", self.release, "build/.config"))
        found = next((place for place in places if place.exists()), places[0])
        return Configuration(self.release, found.read_text())

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
                pytest.skip(f"{self.release} is built without {self.config.named(name)}")
        probes = {one.name: one.name for one in fields(self.profile)}
        if probe is not None and not getattr(self.profile, chosen("probe", probe, probes)):
            pytest.skip(f"{self.release} has no {probe.replace('_', ' ')}, a probe says")


def _slip_apart(one: str, other: str) -> bool:
    """Whether one character that is missing, too many or wrong, or two that changed places, are all that differs."""
    start = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))
    left, right = one[start:], other[start:]
    swapped = left[1::-1] == right[:2] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]
