"""Makes the programs of an environment work where it is moved to."""

from pathlib import Path

#: Runs the Python in the folder of the program itself, as uv writes it. To sh it is a command, to Python a
#: text.
_HEAD = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
' '''
"""


def make_movable(folder: Path, place: Path) -> None:
    """Rewrite what pip and venv wrote with the folder of the draft in it.

    Args:
        folder: where the environment is.
        place: where it will be.

    Raises:
        OSError: a file cannot be read or written.
    """
    before, after = str(folder).encode(), str(place).encode()
    for path in [folder / "pyvenv.cfg", *sorted((folder / "bin").iterdir())]:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" in content[:1024] or before not in content:
            continue
        path.write_bytes(_moved(content, before).replace(before, after))


def _moved(content: bytes, before: bytes) -> bytes:
    lines = content.split(b"\n", 3)
    if lines[0].startswith(b"#!" + before):
        return _HEAD + b"\n".join(lines[1:])
    # How pip writes it where a path is too long for the first line, or has a space.
    if lines[0] == b"#!/bin/sh" and len(lines) == 4 and lines[1].startswith(b"'''exec'"):
        return _HEAD + lines[3]
    return content
