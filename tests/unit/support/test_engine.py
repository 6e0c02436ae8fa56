"""Which processes the end of a container engine takes along."""

import pytest

from tests.support.engine import has_root_in

ENGINE = "/tmp/md-1/"
OVERLAY = (
    "rw,relatime - overlay overlay rw,lowerdir=/tmp/md-1/data/overlay2/l/A,"
    "upperdir=/tmp/md-1/data/overlay2/b/diff,workdir=/tmp/md-1/data/overlay2/b/work"
)
MACHINE = "21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw"


@pytest.mark.parametrize(
    ("mounts", "inside"),
    [
        ([MACHINE], False),
        # Of a container of this engine, over layers or over a plain folder; and of another one.
        ([f"90 80 0:50 / / {OVERLAY}", "91 90 0:51 / /proc rw - proc proc rw"], True),
        (["90 80 254:1 /tmp/md-1/data/vfs/dir/b / ro - ext4 /dev/vda1 rw"], True),
        ([f"90 80 0:50 / / {OVERLAY}".replace("md-1", "md-12")], False),
        # Of whoever copied the mounts of the machine while a container ran.
        ([MACHINE, f"88 21 0:50 / /tmp/md-1/data/overlay2/b/merged {OVERLAY}"], False),
    ],
)
def test_only_those_whose_root_it_has(mounts: list[str], inside: bool) -> None:
    assert has_root_in(ENGINE, "\n".join([*mounts, ""])) == inside
