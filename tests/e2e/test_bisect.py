"""``git bisect run`` with a rule, over a history of core.c: it finds the commit that broke the rule, and passes over the others.

The tree is a copy of the one that ``.ci/long`` builds. Its repository has one file, core.c; all else is as it was built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.host.paths import cache_dir
from tests.e2e import built
from tests.e2e.conftest import CHECKOUT, CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.long]

RULE = "order.equal-newest-first"
CORE = "net/netfilter/core.c"
DEADLINE_S = 3600
BAD = "put new hooks behind equal ones"
#: Subject of a commit, and what text it changes into what; it adds a comment where that is nothing.
HISTORY = (
    ("explain growing", "", ""),
    ("say nothing of unknown verdicts", "\t\t\tWARN_ON_ONCE(1);\n\t\t\treturn 0;\n", "\t\t\treturn 0;\n"),
    ("explain shrinking", "", ""),
    ("begin to check types", "#define nf_entry_dereference(e)", "#error not yet\n#define nf_entry_dereference(e)"),
    ("check types", "#error not yet\n", ""),
    (BAD, "reg->priority > orig_ops[i]->priority", "reg->priority >= orig_ops[i]->priority"),
    ("explain dummies", "", ""),
    ("explain RCU", "", ""),
)


class History:
    """A repository of core.c in a built tree.

    :param tree: is a copy of a built one
    """

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        identity = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        # Without LOCALVERSION a tree with a repository calls itself by its commit.
        self.env = {**os.environ, **identity, "LOCALVERSION": "", "GIT_CONFIG_GLOBAL": "/dev/null", "NFHARNESS_CACHE": str(cache_dir())}
        self.git("init", "--quiet")
        (tree / ".git/info/exclude").write_text("*\n")
        self.commit("as the package has it")
        for subject, old, new in HISTORY:
            self.change(old, new if old else f"/* {subject} */\n")
            self.commit(subject)

    def git(self, *words: str, deadline_s: float = 60) -> str:
        """Run git there, and return what it says."""
        done = subprocess.run(["git", *words], cwd=self.tree, env=self.env, capture_output=True, text=True, timeout=deadline_s, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change(self, old: str, new: str) -> None:
        """Put a text of core.c in place of another one, or at the end."""
        text = (self.tree / CORE).read_text()
        assert not old or text.count(old) == 1
        (self.tree / CORE).write_text(text.replace(old, new) if old else text + new)

    def commit(self, subject: str) -> None:
        """Commit core.c as it is now."""
        self.git("add", "--force", CORE)
        self.git("commit", "--quiet", "--message", subject)


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Eight commits: one is bad, one does not build, one changes what a probe reads and no rule is about here."""
    if not (built.tree() / "vmlinux").is_file():
        pytest.skip(f"no {built.SPEC} is built here: nfharness kernel build --source 6.12 --flavour gcov")
    place = tmp_path / "linux"
    subprocess.run(["cp", "-a", "--reflink=auto", built.tree(), place], check=True)
    shutil.rmtree(place / ".git", ignore_errors=True)
    return History(place)


def test_git_bisect_finds_the_commit_that_broke_a_rule(nfharness: CommandLine, history: History) -> None:
    script = f"make -s -j$(nproc) >&2 || exit 125; cd {CHECKOUT} && python3 -m harness check --kernel '{history.tree}' {RULE}"
    history.git("bisect", "start", "HEAD", f"HEAD~{len(HISTORY)}")
    told = history.git("bisect", "run", "sh", "-c", script, deadline_s=DEADLINE_S)
    log = history.git("bisect", "log")
    assert f"first bad commit: [{history.git('rev-parse', 'refs/bisect/bad').strip()}] {BAD}" in log, told + log
    assert "# skip: " in log, log
