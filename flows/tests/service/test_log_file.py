"""The log of the service."""

import errno
import shutil
import stat
from pathlib import Path
from typing import IO

import pytest
from model_deployment_flows.service import log_file


def test_a_long_log_is_put_aside_while_others_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "_MOST", 10)
    path = tmp_path / "service.log"
    with path.open("a") as file:
        for text in ("short\n", "a long line\n", "the next\n"):
            file.write(text)
            file.flush()
            log_file.keep_short(path)
    assert path.read_text() == "the next\n"
    aside = path.with_suffix(".log.1")
    assert aside.read_text() == "short\na long line\n"
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


def test_a_long_log_is_cut_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def copy_half(text: IO[bytes], copy: IO[bytes]) -> None:
        copy.write(text.read(5))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_file, "_MOST", 10)
    monkeypatch.setattr(shutil, "copyfileobj", copy_half)
    path, aside = tmp_path / "service.log", tmp_path / "service.log.1"
    path.write_text("a long line\n")
    aside.write_text("an older one\n")
    log_file.keep_short(path)
    assert path.read_text() == ""
    assert not aside.exists()
    assert "No space left on device" in caplog.text
