"""What tests of the command line have left is told by their own places."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.host.process import in_namespace

_TOLD = """
import sys
from pathlib import Path
from tests.e2e.leftovers import mounts
print(sorted(mounts(Path(sys.argv[1]))))
"""


def test_a_mount_of_another_program_is_none_of_ours(tmp_path: Path) -> None:
    own, other = tmp_path / "of ours", tmp_path / "of others"
    for place in (own, other):
        (place / "there").mkdir(parents=True)
    script = 'mount -t tmpfs none "$1/there"; mount -t tmpfs none "$2/there"; exec "$3" -c "$4" "$1"'
    command = in_namespace(["sh", "-ec", script, "sh", str(own), str(other), sys.executable, _TOLD])
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.stdout == f"{[str(own / 'there')]}\n", done.stderr
