"""A process may use fewer processors than the machine has, where a control group says so."""

import os
from pathlib import Path

import pytest

from model_deployment.runtime.processors import processors

ALL = len(os.sched_getaffinity(0))


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        (
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
            },
        ),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000"}),
        ("0::/../host\n", {"sys/fs/cgroup/cpu.max": "10000 100000"}),
        (
            "4:cpu,cpuacct:/a\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            },
        ),
    ],
)  # fmt: skip
def test_a_quota_counts(tmp_path: Path, groups: str, files: dict[str, str]) -> None:
    assert processors(system(tmp_path, groups, files)) == 1


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("", {}),
        ("0::/gone\n", {}),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000"}),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "99900000 100000"}),
        (
            "1:cpu:/\n",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
        ),
    ],
)
def test_without_a_quota_all_count(tmp_path: Path, groups: str, files: dict[str, str]) -> None:
    assert processors(system(tmp_path, groups, files)) == ALL
