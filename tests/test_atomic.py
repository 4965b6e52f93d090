import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from seqclass.atomic import atomic_file, atomic_folder, check_free, write_text
from seqclass.errors import OutputExistsError, SeqclassError


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
        with atomic_folder(tmp_path / "out", force=True, holding="metrics.json") as folder:
            (folder / content).write_text(content)
            (folder / "metrics.json").touch()
    assert sorted(os.listdir(tmp_path / "out")) == ["metrics.json", "two"]
    assert os.listdir(tmp_path) == ["out"]


def test_force_replaces_no_folder_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with atomic_folder(tmp_path / "thesis", force=True, holding="metrics.json") as folder:
        (folder / "thesis.txt").write_text("mine")
    with (
        pytest.raises(SeqclassError, match=r"thesis: this folder holds other things than metrics\.json.*another place"),
        atomic_folder(tmp_path / "thesis", force=True, holding="metrics.json"),
    ):
        pytest.fail("nothing may be written")
    assert (tmp_path / "thesis" / "thesis.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_file_and_a_folder_do_not_take_each_others_place(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "file", "old")
    for force in (False, True):
        with pytest.raises(SeqclassError, match="this is a folder, where a file is to be written"):
            write_text(tmp_path / "folder", "new", force=force)
    with (
        pytest.raises(SeqclassError, match="this is a file, where a folder is to be written"),
        atomic_folder(tmp_path / "file", force=True, holding="metrics.json"),
    ):
        pytest.fail("nothing may be written")
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_or_a_device_is_never_replaced(tmp_path: Path, force: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SeqclassError, match="neither a file nor a folder"):
            write_text(path, "new", force=force)
    assert (tmp_path / "pipe").is_fifo()


def test_what_a_link_points_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    write_text(tmp_path / "scratch" / "a.txt", "old")
    (tmp_path / "a.txt").symlink_to("scratch/a.txt")
    write_text(tmp_path / "a.txt", "new", force=True)
    (tmp_path / "out").symlink_to("scratch/out")
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "out", force=True, holding="mark") as folder:
            (folder / "mark").write_text(content)
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "scratch" / "a.txt").read_text() == "new"
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "scratch" / "out" / "mark").read_text() == "two"
    assert sorted(os.listdir(tmp_path / "scratch")) == ["a.txt", "out"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_read_is_never_written_over(tmp_path: Path, force: bool) -> None:
    (tmp_path / "data" / "bundle").mkdir(parents=True)
    (tmp_path / "data" / "metrics.json").touch()
    genome = tmp_path / "data" / "g.fa"
    write_text(genome, ">a")
    (tmp_path / "link.fa").symlink_to(genome)
    for out, inputs in (
        (genome, (None, genome)),
        (genome, (tmp_path / "link.fa",)),
        (tmp_path / "link.fa", (genome,)),
        (tmp_path / "data" / ".." / "data" / "g.fa", (genome,)),
    ):
        with pytest.raises(SeqclassError, match=r"\.fa: this is what is to be read"):
            check_free(out, force, inputs=inputs)
    for inputs in ((genome,), (genome, tmp_path / "data" / "bundle"), (tmp_path / "link.fa",)):
        with pytest.raises(SeqclassError, match=r"data: this holds .*g\.fa, which is to be read"):
            check_free(tmp_path / "data", force, holding="metrics.json", inputs=inputs)
    assert check_free(tmp_path / "new", force, inputs=(genome, None)) == tmp_path / "new"


def test_a_full_disk_is_told_with_the_output_s_name_and_the_old_one_stands(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    script = f"""
        import resource
        from pathlib import Path
        from seqclass.atomic import atomic_folder, write_text
        from seqclass.errors import SeqclassError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        place = Path({str(tmp_path)!r})
        def folder():
            with atomic_folder(place / "out", holding="a") as partial:
                (partial / "a").write_text("x" * 1001)
        for write in (lambda: write_text(place / "a.txt", "x" * 1001, force=True), folder):
            try:
                write()
            except SeqclassError as error:
                print(error)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    told = "this could not be written (File too large). Make room on the disk; what stood here before is untouched."
    assert ended == [f"{tmp_path / name}: {told}" for name in ("a.txt", "out")]
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


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
