import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from seqclass.atomic import atomic_file, atomic_folder, write_text
from seqclass.errors import OutputExistsError


def test_a_failure_while_writing_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.txt", force=True) as partial:
        shutil.copyfile(tmp_path / "none", partial)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OutputExistsError, match="--force"):
        write_text(tmp_path / "a.txt", "new")
    write_text(tmp_path / "a.txt", "new", force=True)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_is_exchanged_as_a_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "out", force=True) as folder:
            (folder / content).write_text(content)
    assert os.listdir(tmp_path / "out") == ["two"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    script = f"""
        from seqclass.atomic import atomic_file
        import os, signal
        with atomic_file({str(tmp_path / "a.txt")!r}, force=True) as partial:
            partial.write_text("new, half wri")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"
