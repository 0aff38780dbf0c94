"""The cache: one builder at a time, whole results only, and nothing half-built after a crash."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.host import process
from harness.host.store import (
    altered,
    building,
    checksum,
    discard,
    is_kept,
    keep,
    locked,
    read_record,
    remove_tree,
    size_of,
    write_whole,
)

_BUILD = """
import sys, time
from pathlib import Path
from harness.host.store import building
with building(Path(sys.argv[1]), waiting=lambda: print("waiting", flush=True)) as new:
    if new:
        (new / "half").write_text("x")
        print("building", flush=True)
        sys.stdin.read()
    else:
        print("there", flush=True)
"""


def _builder(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _BUILD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_what_is_built_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "kind" / "thing"
    with building(path) as new:
        assert new is not None
        (new / "file").write_text("content")
        assert not path.exists()
    assert (path / "file").read_text() == "content"
    with building(path) as again:
        assert again is None


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)), building(tmp_path / "thing") as new:
        assert new is not None
        (new / "half").write_text("x")
        raise failure
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_an_error_with_its_hint(tmp_path: Path, number: int) -> None:
    said = f"the disk is full: \\d+ MiB free under {tmp_path} are not enough"
    with pytest.raises(HostError, match=said) as caught, building(tmp_path / "thing"):
        raise OSError(number, os.strerror(number))
    assert "NFHARNESS_CACHE" in (caught.value.hint or "")


def test_what_a_killed_build_left_is_swept_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    killed = _builder(path)
    assert _says(killed) == "building"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (tmp_path / ".thing.new" / "half").exists()
    with building(path) as new:
        assert new is not None
        assert list(new.iterdir()) == []
    assert path.is_dir()


def test_of_two_builders_one_waits_and_finds_it_there(tmp_path: Path) -> None:
    first, second = _builder(tmp_path / "thing"), None
    assert _says(first) == "building"
    second = _builder(tmp_path / "thing")
    assert _says(second) == "waiting"
    first.communicate()
    assert _says(second) == "there"
    second.communicate()


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 3), lambda file: file.unlink()])
def test_a_file_that_was_cut_short_is_noticed(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "thing"
    with building(path) as new:
        assert new is not None
        (new / "file").write_text("content")
    assert callable(damage)
    damage(path / "file")
    with pytest.raises(HostError, match=r"file is damaged: [03] of 7 bytes") as caught, building(path):
        pass
    assert caught.value.hint == f"it is built anew once it is gone: rm -r {path}"


@pytest.mark.parametrize("text", [None, "", "{", "\0\0"])
def test_a_record_that_is_no_json_is_noticed(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "record.json").write_text(text)
    with pytest.raises(HostError, match=r"record\.json is damaged"):
        read_record(tmp_path / "record.json")


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_whole(path, "old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_no_directory_is_made_for_a_file_that_nobody_would_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "file", "new", make_parent=False)
    assert list(tmp_path.iterdir()) == []


def test_who_holds_a_lock_may_take_it_again(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), locked(tmp_path / "lock", waiting=lambda: pytest.fail("waits for itself")):
        pass


def test_a_tree_without_write_permission_goes_too(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "locked").mkdir(parents=True)
    (tree / "locked" / "file").write_text("x")
    (tree / "locked").chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    remove_tree(tree)


def test_holes_take_no_room(tmp_path: Path) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    assert size_of(tmp_path) < 1 << 20


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo one; echo 'E: it is broken'; echo last; exit 3", r"tinkering failed \(exit 3\): E: it is broken"),
        ("echo only; exit 1", r"tinkering failed \(exit 1\): only"),
        ("exit 1", r"tinkering failed \(exit 1\): no output"),
        ("sleep 60", "tinkering did not end within 1 s"),
    ],
)
def test_a_command_that_fails_says_why_and_keeps_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path / "state"))
    with pytest.raises(HostError, match=said) as caught:
        process.run(["sh", "-c", script], what="tinkering", log=tmp_path / "log", timeout=1)
    assert str(tmp_path / "state/failed/log") in (caught.value.hint or "")
    assert (tmp_path / "state/failed/log").exists()


def test_a_command_that_finds_the_disk_full(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        process.run(["sh", "-c", "head -c 1 /dev/zero > /dev/full"], what="tinkering", log=tmp_path / "log", timeout=10)
    assert caught.value.errno == errno.ENOSPC


def test_a_program_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="tinkering: no-such-program is not installed"):
        process.run(["no-such-program"], what="tinkering", log=tmp_path / "log", timeout=10)


def _flip(file: Path, place: int) -> None:
    """Alter one bit; what the file system says of the file else stays as it was."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A thing with a small file, a sparse one of several blocks that ends within one, a log, and one that is nothing but a hole."""
    path = tmp_path / "thing"
    with building(path) as new:
        assert new is not None
        (new / "small").write_text("content")
        (new / "build.log").write_text("log")
        for name in ("sparse", "hole"):
            (new / name).touch()
            os.truncate(new / name, (5 << 20) + 17)
        with (new / "sparse").open("r+b") as file:
            file.write(b"x" * 5000)
            file.seek(3 << 20)
            file.write(b"y" * 5000)
            file.seek(5 << 20)
            file.write(b"z" * 17)
    return path


@pytest.mark.parametrize(("name", "place"), [("small", 0), ("small", 6), ("sparse", 4999), ("sparse", 2 << 20), ("sparse", (5 << 20) + 16),
                                             ("hole", 1 << 20)])
def test_a_bit_that_flips_is_noticed(built: Path, name: str, place: int) -> None:
    assert altered(built) == []
    _flip(built / name, place)
    assert altered(built) == [built / name]
    with building(built) as new:  # it is as long as it was: to read all of it each time would take too long
        assert new is None
    _flip(built / name, place)
    assert altered(built) == []


def test_blocks_in_each_others_places_are_noticed(tmp_path: Path) -> None:
    for name, blocks in (("one", b"ab"), ("other", b"ba")):
        (tmp_path / name).write_bytes(b"".join(bytes([block]) * (1 << 20) for block in blocks))
    assert checksum(tmp_path / "one") != checksum(tmp_path / "other")


def test_zeros_in_a_holes_stead_are_no_damage(built: Path) -> None:
    (built / "hole").write_bytes(bytes((5 << 20) + 17))
    assert altered(built) == []


def test_a_log_that_grows_is_no_damage_and_a_file_that_is_gone_is(built: Path) -> None:
    (built / "build.log").write_text("lot")
    (built / "small").unlink()
    assert altered(built) == [built / "small"]


def test_what_is_discarded_is_built_anew(built: Path) -> None:
    assert discard(built)
    with building(built) as new:
        assert new is not None


def test_what_is_just_being_built_is_not_discarded(tmp_path: Path) -> None:
    builder = _builder(tmp_path / "thing")
    assert _says(builder) == "building"
    assert not discard(tmp_path / ".thing.new")
    builder.communicate()


_KEEPER = """
import sys, time
from pathlib import Path
from harness.host.store import keep
keep(Path(sys.argv[1]))
print("kept", flush=True)
time.sleep(60)
"""


def test_what_a_living_process_keeps_is_kept_until_it_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    file.write_text("{}")
    assert (is_kept(file), is_kept(tmp_path / "none")) == (False, False)
    with subprocess.Popen([sys.executable, "-c", _KEEPER, str(file)], stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"kept\n"
        assert is_kept(file)
        keeper.kill()
    assert not is_kept(file)


def test_a_file_is_kept_once_and_another_of_its_name_anew(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    for text in ("{}", "[]"):
        file.unlink(missing_ok=True)
        file.write_text(text)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            keep(file)
        assert (is_kept(file), len(list(Path("/proc/self/fd").iterdir())) - before) == (True, 1)
