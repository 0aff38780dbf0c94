"""``nfharness profile``: every field with what it means, and what differs between kernels."""

from __future__ import annotations

import errno
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cli import profile
from harness.cli.profile import rows
from harness.conformance.matrix import Target
from harness.conformance.reference import load
from harness.errors import UserError
from harness.images.kernels import Kernel
from harness.netfilter import Family
from harness.outcome import KernelProfile

OLD = KernelProfile(release="5.10", families=(Family.INET, Family.IPV4), stolen_errno=False, netdev_egress_errno=errno.EOPNOTSUPP)
NEW = KernelProfile(release="6.12", families=(Family.INET, Family.IPV4))


def test_every_field_says_what_it_means_and_how_it_is_probed() -> None:
    assert [one.name for one in fields(KernelProfile) if not (one.metadata.get("means") and one.metadata.get("how"))] == []


def test_every_field_but_the_release_has_a_row() -> None:
    assert [row.name for row in rows([NEW])] == [one.name for one in fields(KernelProfile) if one.name != "release"]


def test_a_field_differs_where_two_kernels_do() -> None:
    differing = {row.name for row in rows([NEW, OLD, NEW]) if row.differs}
    assert differing == {"stolen_errno", "netdev_egress_errno"}
    assert not any(row.differs for row in rows([NEW, NEW]))


def test_values_are_words() -> None:
    shown = {row.name: list(row.cells()) for row in rows([OLD, NEW])}
    assert shown["stolen_errno"] == ["no", "yes"]
    assert shown["netdev_egress_errno"] == ["EOPNOTSUPP", "EINVAL"]
    assert shown["families"] == ["INET IPV4", "INET IPV4"]


def target(kernel: Kernel, name: str = "named") -> Target:
    return Target(name, kernel, cast(Any, SimpleNamespace(facts={"profile": NEW.to_json()})))


@pytest.mark.parametrize(("kernel", "name"), [
    (Kernel("7.4.1+deb13-cloud-amd64", "7.4.1-1", "7.4", "cloud", ()), "7.4"),
    (Kernel("6.12.1-rt-amd64", "6.12.1-1", "6.12", "rt", ()), "6.12-rt"),
    (Kernel("6.12.1", "abc", "6.12", "tree", (), tree="/home/me/linux"), "linux"),
])
def test_a_reference_is_recorded_under_the_name_that_finds_it(kernel: Kernel, name: str, tmp_path: Path) -> None:
    """However the kernel was asked for: by its series, its version or its release."""
    profile._record(tmp_path, [target(kernel)])
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.json"]
    assert load(str(tmp_path / f"{name}.json")).profile == NEW


def test_two_references_of_one_name_are_refused_before_either_is_written(tmp_path: Path) -> None:
    trees = [target(Kernel("6.12.1", version, "6.12", "tree", (), tree=f"/{version}/linux"), f"/{version}/linux") for version in ("a", "b")]
    with pytest.raises(UserError, match=r"/a/linux, /b/linux would be linux\.json"):
        profile._record(tmp_path, trees)
    assert list(tmp_path.iterdir()) == []
