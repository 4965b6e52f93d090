import gzip
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqclass.data.fasta import read_fasta
from seqclass.errors import SequenceError


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_records_are_read_with_name_description_letters_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fa", b">one first  of two\nACGT\nAC\n\n>two\nGG GG\n")
    assert [tuple(record) for record in read_fasta(path)] == [
        ("one", "first  of two", b"ACGTAC", 1),
        ("two", "", b"GGGG", 5),
    ]


@given(records=st.lists(st.text("ACGTN", min_size=1, max_size=50), min_size=1, max_size=5), width=st.integers(1, 60))
def test_line_width_line_ends_mark_and_compression_do_not_matter(
    records: list[str], width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fasta")
    lines = []
    for number, letters in enumerate(records):
        lines += [f">r{number}", *(letters[i : i + width] for i in range(0, len(letters), width))]
    unix, windows = "\n".join(lines).encode(), "\r\n".join(lines).encode()
    for content in (unix, windows + b"\r\n", b"\xef\xbb\xbf" + unix, gzip.compress(windows)):
        found = [record.letters.decode() for record in read_fasta(write(folder / "a", content))]
        assert found == records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"ACGT\n", "line 1: FASTA starts with '>'"),
        (b">a\nAC\n>b\n>c\nGG\n", "line 3: record 'b' has no sequence"),
        (b">a\nAC\n>b\n", "line 3: record 'b' has no sequence"),
        (b">\nAC\n", "line 1: a header without a name"),
        (gzip.compress(b">a\n" + b"ACGT" * 9999, mtime=0)[:-20], "damaged or cut short"),
    ],
)
def test_what_is_not_fasta_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SequenceError, match=message) as error:
        list(read_fasta(write(tmp_path / "a.fa", content)))
    assert error.value.remedy


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_from_its_first_letter(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = Thread(target=(tmp_path / "pipe").write_bytes, args=(pack(b">one\nACGT\n>two\nGG\n" * 9999),), daemon=True)
    writer.start()
    names = [record.name for record in read_fasta(tmp_path / "pipe")]
    writer.join()
    assert names == ["one", "two"] * 9999


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match=r"none\.fa: there is no such file"):
        list(read_fasta(tmp_path / "none.fa"))
    with pytest.raises(SequenceError, match="this is a folder"):
        list(read_fasta(tmp_path))
