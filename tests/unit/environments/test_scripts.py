"""Programs of an environment run where it is moved to."""

import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.environments.scripts import make_movable

HEADS = {
    "plain": "#!{place}/bin/python3\n",
    "long or with a space": "#!/bin/sh\n'''exec' \"{place}/bin/python3\" \"$0\" \"$@\"\n' '''\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_program_runs_where_it_was_moved_to(tmp_path: Path, head: str) -> None:
    draft, place = tmp_path / "draft", tmp_path / "a place"
    (draft / "bin").mkdir(parents=True)
    (draft / "bin/python").symlink_to(sys.executable)
    (draft / "pyvenv.cfg").write_text(f"command = python -m venv {draft}\n")
    program = draft / "bin/tool"
    program.write_text(head.format(place=draft) + "import sys\nprint(sys.argv[1:])\n")
    program.chmod(0o755)
    (draft / "bin/activate").write_text(f"VIRTUAL_ENV={draft}\n")
    (draft / "bin/binary").write_bytes(b"\x7fELF\0" + str(draft).encode())
    make_movable(draft, place)
    draft.rename(place)
    said = subprocess.run(
        [place / "bin/tool", "a b", "c"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "['a b', 'c']\n"
    assert (place / "bin/activate").read_text() == f"VIRTUAL_ENV={place}\n"
    assert (place / "pyvenv.cfg").read_text() == f"command = python -m venv {place}\n"
    assert (place / "bin/binary").read_bytes().endswith(str(draft).encode())
