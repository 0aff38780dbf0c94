"""Dead orphans are let go, and no child whose end a Popen asks for."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, os, subprocess, time
from harness.pytest_plugin.guest.orphans import children, own, reap

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
mine = subprocess.Popen(["sh", "-c", "exit 7"])
subprocess.run(["sh", "-c", "(true &); (sleep 100 &)"], check=True)
while len(own()) < 3 or len(list(children())) > 1:
    time.sleep(0.01)
reap()
(orphan, name), = children()
print(own() == {mine.pid, orphan}, name)
reap({orphan})
print(own() == {orphan}, mine.wait())
os.kill(orphan, 9)
"""


def test_a_child_of_a_popen_stays_until_it_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["True", "sleep", "True", "0"], done  # the last one: nobody kept its status
