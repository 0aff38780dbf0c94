"""Reference profiles: what Debian's kernels were found to do, recorded so that a fault cannot pass for another kind of kernel.

A profile is the model's parameter, so whatever a probe reads would be right by itself. Compared with the reference of its series, what a
fault changed departs. A kernel's options explain a departure: the reference is one configuration among many.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from debian.debian_support import Version

from harness.errors import UserError
from harness.host.store import write_whole
from harness.images.config import is_on
from harness.images.kernels import series_of
from harness.netfilter import Family, errno_name
from harness.outcome.profile import KernelProfile
from harness.scenario.reader import quote, suggest

__all__ = ("FIELDS", "PREFIX", "Deviation", "Reference", "chosen_fields", "departures", "load", "names", "nearest", "record")

#: How the results of a check are called that are about fields of the profile.
PREFIX = "profile."
#: What is compared, each with what it means; the release and what failed are no promises.
FIELDS: Mapping[str, str] = {one.name: one.metadata["means"] for one in fields(KernelProfile) if one.name not in ("release", "unprobed")}
_OPTIONS: Mapping[str, tuple[str, ...]] = {one.name: one.metadata["options"] for one in fields(KernelProfile)}
#: Of a field that holds several things, those that come with an option, and its values that bring them.
_MEMBERS: Mapping[str, Mapping[Any, tuple[str, str]]] = {
    "families": {Family.ARP: ("NETFILTER_FAMILY_ARP", "y"), Family.BRIDGE: ("NETFILTER_FAMILY_BRIDGE", "y"),
                 Family.NETDEV: ("NETFILTER_INGRESS", "y")},
    "conntrack_builtin": {"nf_conntrack": ("NF_CONNTRACK", "y"), "nf_conntrack_netlink": ("NF_CT_NETLINK", "y"),
                          "nf_nat": ("NF_NAT", "y")},
}
_ORDERS: Mapping[str, tuple[Any, ...]] = {"families": tuple(Family), "conntrack_builtin": tuple(_MEMBERS["conntrack_builtin"])}
_SERIES = re.compile(r"\d+\.\d+")
_WHERE = files("harness.conformance") / "references"


@dataclass(frozen=True, slots=True)
class Reference:
    """What one build of a series was found to do.

    :param name: the series, ``6.12``
    :param version: Debian version of its packages
    :param silent: fields that nfharness did not know yet when it was recorded: nothing is compared with those
    """

    name: str
    release: str
    version: str
    profile: KernelProfile
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Deviation:
    """A field in which a kernel is not as its reference, or not as its own options have it.

    :param said: ``6.12 has it, this kernel has not``
    :param expected: what it would be on a kernel that does not depart
    :param explained: what explains it: an option, another reference, ``--allow-profile``; empty: nothing
    """

    field: str
    said: str
    expected: Any = None
    explained: str = ""

    @property
    def id(self) -> str:
        """The name that results have for the difference."""
        return PREFIX + self.field

    @property
    def reason(self) -> str:
        return f"{self.said}: {self.explained}" if self.explained else self.said


def names() -> list[str]:
    """Names of the references that ship with the package, by series."""
    found = [one.name.removesuffix(".json") for one in _WHERE.iterdir() if one.name.endswith(".json")]
    return sorted(found, key=Version)


@cache
def load(name: str) -> Reference:
    """A reference by its name, or out of a file that ``profile --record`` wrote.

    :raises UserError: it is neither
    """
    own = "/" in name or name.endswith(".json")
    if not own and name not in names():
        raise UserError(f"no reference {quote(name)}", hint=suggest(name, names(), what="references"))
    try:
        document = json.loads(Path(name).read_text() if own else (_WHERE / f"{name}.json").read_text())
        profile = KernelProfile.from_json(document["profile"])
        return Reference(document["name"], document["release"], document["version"], profile, FIELDS.keys() - document["profile"].keys())
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}", hint="name a file that 'nfharness profile --record' wrote") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{name}: no reference", hint="name a file that 'nfharness profile --record' wrote") from None


def record(directory: Path, reference: Reference) -> Path:
    """Write a reference; one that is there stays as it is unless the new one is whole.

    :raises UserError: it cannot be written there
    """
    path = directory / f"{reference.name}.json"
    document = {"name": reference.name, "release": reference.release, "version": reference.version, "profile": reference.profile.to_json()}
    try:
        write_whole(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint="give --record a directory that can be written") from None
    return path


def nearest(release: str) -> tuple[Reference, ...]:
    """The reference of a kernel's series; of a series between two, the older and the newer one.

    That is a look-up by name, as that of a kernel in Debian's archive: it chooses what a kernel is compared with, and nothing that the
    kernel does is told by it.

    :param release: ``uname -r``
    """
    series, known = series_of(release), [name for name in names() if _SERIES.fullmatch(name)]
    if series in known:
        return (load(series),)
    try:
        older = [name for name in known if Version(name) < Version(series)]
    except ValueError:  # a release that is no number: all that is known of it is that it is of today
        older = known
    newer = [name for name in known if name not in older]
    return tuple(load(name) for name in (*older[-1:], *newer[:1]))


def chosen_fields(patterns: Sequence[str]) -> tuple[str, ...]:
    """Fields by ``profile``, ``profile.netdev_egress`` or a glob such as ``profile.veth_*``, each once, in their order."""
    wanted = [pattern.rstrip(".") for pattern in patterns]
    return tuple(name for name in FIELDS
                 if any(one == PREFIX[:-1] or (one.startswith(PREFIX) and fnmatchcase(PREFIX + name, one)) for one in wanted))


def departures(
    profile: KernelProfile, references: Sequence[Reference], options: Mapping[str, str] | None, allowed: Sequence[str] = (),
) -> Iterator[Deviation]:
    """Where a kernel is not as its reference, and what explains that.

    :param references: the nearest first; what another one has is explained by it
    :param options: of the kernel's configuration; ``None`` where it is unknown
    :param allowed: fields that may depart
    """
    failed = dict(one.split(": ", 1) for one in profile.unprobed)
    reference, *others = references
    # An answer of kernels without EGRESS is none of a kernel that is expected to have it.
    silent = reference.silent | ({"netdev_egress_errno"} if _by_options("netdev_egress", reference.profile, options)[0] else set())
    for name in (name for name in FIELDS if name not in silent):
        found, before = getattr(profile, name), getattr(reference.profile, name)
        expected, why = _by_options(name, reference.profile, options)
        explained = ""
        if name in failed:
            said, expected = f"it could not be probed: {failed[name]}", found
        elif found != expected:
            said = _said(reference.name if expected == before else why, expected, found)
            explained = next((f"{other.name} is so" for other in others if found == _by_options(name, other.profile, options)[0]), "")
        elif found != before:
            said, explained = _said(reference.name, before, found), why
        else:
            continue
        yield Deviation(name, said, expected, explained or ("--allow-profile" if name in allowed else ""))


def _by_options(name: str, reference: KernelProfile, options: Mapping[str, str] | None) -> tuple[Any, str]:
    """What a field is in a kernel with these options, and which of them say so; as in the reference where no option has a say."""
    before = getattr(reference, name)
    if options is None:
        return before, ""
    if name in _MEMBERS:
        members = _MEMBERS[name]
        here = [one for one in _ORDERS[name] if (options.get(members[one][0]) == members[one][1] if one in members else one in before)]
        changed = [members[one][0] for one in members if (one in before) != (one in here)]
        return tuple(here), _options_said(changed, options)
    if name == "netdev_egress_errno":
        without = reference.netdev_egress and not is_on(options, "NETFILTER_EGRESS")
        return (errno.EOPNOTSUPP, _options_said(["NETFILTER_EGRESS"], options)) if without else (before, "")
    needed = _OPTIONS[name]
    if not needed:
        return before, ""
    lacking = [one for one in needed if not _has(options, one)]
    return not lacking, _options_said([one.split("=")[0] for one in lacking or needed], options)


def _has(options: Mapping[str, str], needed: str) -> bool:
    name, _, value = needed.partition("=")
    return options.get(name) == value if value else is_on(options, name)


def _options_said(changed: Sequence[str], options: Mapping[str, str]) -> str:
    """``CONFIG_NF_NAT=y, CONFIG_BRIDGE is not set``."""
    return ", ".join(f"CONFIG_{name}={options[name]}" if name in options else f"CONFIG_{name} is not set" for name in changed)


def _said(who: str, expected: Any, found: Any) -> str:
    if isinstance(expected, bool):
        return f"{who} has it, this kernel has not" if expected else f"{who} has it not, this kernel has"
    if isinstance(expected, tuple):
        lost = " ".join(_value(one) for one in expected if one not in found)
        more = " ".join(_value(one) for one in found if one not in expected)
        told = ([f"{who} has {lost}, this kernel has not"] if lost else []) + ([f"{who} has not {more}, this kernel has"] if more else [])
        return "; ".join(told)
    return f"{who}: {_value(expected)}, this kernel: {_value(found)}"


def _value(value: Any) -> str:
    if isinstance(value, Family):
        return value.name
    return errno_name(value) if isinstance(value, int) else str(value) or "no"
