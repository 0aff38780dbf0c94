"""Where things live, whatever the directories are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.host.paths import cache_dir, run_dir
from harness.host.progress import Progress
from harness.vm.qemu import TCG, Machine


def test_a_relative_path_is_of_the_directory_that_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NFHARNESS_CACHE", "cache")
    assert cache_dir() == tmp_path / "cache"


@pytest.mark.parametrize(("variable", "place"), [("NFHARNESS_CACHE", cache_dir), ("NFHARNESS_STATE", run_dir)])
def test_a_control_character_is_refused(variable: str, place: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/tmp/a\nb")  # noqa: S108
    assert callable(place)
    with pytest.raises(UserError, match=f"{variable} or its default has a control character: '/tmp/a.nb'"):
        place()


@pytest.mark.parametrize(("variable", "place"), [("NFHARNESS_CACHE", cache_dir), ("NFHARNESS_STATE", run_dir)])
@pytest.mark.parametrize("below", ["", "/deep/er"])
def test_a_file_is_no_directory(variable: str, place: object, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, f"{file}{below}")
    assert callable(place)
    with pytest.raises(UserError, match=f"{variable} or its default is no directory: {file}$"):
        place()


def test_a_comma_ends_no_option_of_qemu() -> None:
    odd = Path("/a, b")
    arguments = Machine(odd / "vmlinuz", odd / "initrd", (odd / "disk",), TCG, ram=odd / "ram").arguments()
    assert {"if=none,id=disk0,file=/a,, b/disk,format=raw,read-only=on,file.locking=off",
            "memory-backend-file,mem-path=/a,, b/ram,share=off,id=ram,size=1024M"} <= set(arguments)  # fmt: skip


def test_progress_shows_a_path_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.note("kernel /a[/red] [bold]b")
    with progress.step("kernel /a[/red]: copying", expected_s=1):
        pass
    assert capsys.readouterr().err.splitlines()[:2] == ["kernel /a[/red] [bold]b", "kernel /a[/red]: copying …"]
