"""Modules of a user's: built for a kernel, loaded by a test, and what is wrong with them said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.images import kernels
from tests.e2e.test_pytest_plugin import run

SOURCE = """\
// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>

static int answer = 42;
module_param(answer, int, 0444);

static int __init mine_init(void)
{
	return answer < 0 ? -EINVAL : 0;
}

static void __exit mine_exit(void)
{
}

module_init(mine_init);
module_exit(mine_exit);
MODULE_LICENSE("GPL");
"""
TESTS = """
from pathlib import Path
import pytest
from harness.errors import Mistake

def test_loads(lab):
    module = lab.module("mine", answer=7)
    assert (module.is_loaded, module.parameter("answer")) == (True, "7")

def test_is_gone_after_its_test(lab):
    assert not Path("/sys/module/mine").exists()

@pytest.mark.parametrize(("name", "parameters", "said"), [
    ("mien", {}, 'there is no module "mien"'), ("mine", {"answr": 1}, 'there is no parameter of mine.s "answr"'),
    ("mine", {"answer": -1}, "the module mine cannot be loaded")])
def test_mistakes(lab, name, parameters, said):
    with pytest.raises(Mistake, match=said):
        lab.module(name, **parameters)

@pytest.mark.may_warn("verification failed")
def test_can_be_unloaded_before_the_end(lab):
    lab.module("mine").unload()
    assert not Path("/sys/module/mine").exists()
"""

pytestmark = pytest.mark.usefixtures("ready")


def sources(directory: Path, text: str = SOURCE) -> Path:
    (directory / "mod").mkdir()
    (directory / "mod" / "mine.c").write_text(text)
    (directory / "mod" / "Kbuild").write_text("obj-m := mine.o\n")
    return directory


def build(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness", "module", "build", str(directory)], capture_output=True, text=True, check=False)


def test_a_test_loads_a_module_of_its_own(tmp_path: Path) -> None:
    (sources(tmp_path) / "pytest.ini").write_text("[pytest]\nkernel_modules = mod\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run(tmp_path, "--kernel", kernels.DEFAULT)
    assert (done.returncode, "6 passed" in done.stdout) == (0, True), done.stdout
    assert [path.name for path in sorted((tmp_path / "mod").iterdir())] == ["Kbuild", "mine.c"]


def test_what_does_not_compile_is_the_tests_error_in_the_compilers_words(tmp_path: Path) -> None:
    (sources(tmp_path, SOURCE.replace("-EINVAL", "-EINVALID")) / "pytest.ini").write_text("[pytest]\nkernel_modules = mod\n")
    (tmp_path / "test_it.py").write_text("def test_it(lab): pass\n")
    done = run(tmp_path, "--kernel", kernels.DEFAULT, "--report-jsonl", "out.jsonl")
    told = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert told["outcome"] == "error"
    assert f"{tmp_path}/mod/mine.c:9:" in told["message"]
    assert "'EINVALID' undeclared" in told["message"]


@pytest.mark.parametrize(("files", "said"), [
    ({}, "has no Kbuild and no Makefile"), ({"Kbuild": "# none\n"}, "builds no module"),
    ({"Kbuild": "obj-m := absent.o\n"}, "does not build for"),
    ({"Makefile": "obj-m := mine.o\n", "mine.c": SOURCE.replace("#include", "#error no\n#include")}, "error: #error no"),
])
def test_what_is_no_module_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = build(tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_module_is_printed_and_kept(tmp_path: Path) -> None:
    first = build(sources(tmp_path) / "mod")
    file = Path(first.stdout.strip())
    assert (file.name, file.read_bytes()[:4]) == ("mine.ko", b"\x7fELF")
    assert (build(tmp_path / "mod").stdout, "mine" in build(tmp_path / "mod").stderr) == (first.stdout, False)
