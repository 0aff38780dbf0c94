"""The house's tools find nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_ruff_finds_nothing() -> None:
    done = _run(sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert done.returncode == 0, done.stdout


def test_mypy_strict_finds_nothing() -> None:
    done = _run(sys.executable, "-m", "mypy")
    assert done.returncode == 0, done.stdout


def test_clang_format_leaves_the_module_as_it_is() -> None:
    done = _run(str(Path(sys.executable).with_name("clang-format")), "--dry-run", "--Werror", *map(str, sorted(ROOT.glob("kmod/*.[ch]"))))
    assert done.returncode == 0, done.stderr


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    sources = (path for folder in ("harness", "kmod") for path in ROOT.glob(f"{folder}/**/*") if path.suffix in (".py", ".c", ".h"))
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length > 400}
