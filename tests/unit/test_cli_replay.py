"""What a bundle may choose of where it is run, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.replay import kernel_of
from harness.conformance.bundle import Bundle
from harness.errors import UserError
from harness.images.kernels import DEFAULT
from harness.scenario.builtin import load


@pytest.mark.parametrize("kernel", [{"tree": "/srv/evil"}, {"release": "/srv/evil"}, {"release": "~/evil"}, {"release": "evil"},
                                    {"release": "..", "tree": ""}, {"release": "6.12", "tree": "evil"}])  # fmt: skip
def test_a_bundle_chooses_no_directory_to_build_from(kernel: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil").mkdir()
    with pytest.raises(UserError, match="which a bundle may not choose") as caught:
        kernel_of(Bundle("explore", load(), kernel))
    assert "--kernel " in (caught.value.hint or "")


def test_it_chooses_a_release() -> None:
    assert kernel_of(Bundle("explore", load(), {"release": "6.12.118+deb13-cloud-amd64"})) == "6.12.118+deb13-cloud-amd64"
    assert kernel_of(Bundle("explore", load(), {})) == DEFAULT
