"""Tables are read as Python's own CSV reader reads them; what is no table is refused by line."""

from __future__ import annotations

import csv
import gzip
import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqclass.data.delimited import read_header, read_rows
from seqclass.errors import SeqclassError, SequenceError, SourceError

PLAIN = "id,sequence,label\na,ACGT,x\nb,GGCC,y\n"
ROWS = [(2, ["a", "ACGT", "x"]), (3, ["b", "GGCC", "y"])]
COLUMNS = ["id", "sequence", "label"]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(path: Path, columns: list[str], optional: tuple[str, ...] = ()) -> list[tuple[int, list[str]]]:
    return [tuple(row) for row in read_rows(path, columns, optional)]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_the_delimiter_is_told_from_the_header_whatever_the_name_says(tmp_path, name, delimiter):
    assert rows(write(tmp_path / name, PLAIN.replace(",", delimiter)), COLUMNS) == ROWS


def test_the_name_decides_where_the_header_leaves_a_choice(tmp_path):
    text = "a,b\tc\n1,2\t3\n"
    assert read_header(write(tmp_path / "t.csv", text)) == ["a", "b\tc"]
    assert read_header(write(tmp_path / "t.tsv", text)) == ["a,b", "c"]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        gzip.compress(PLAIN.encode()),
        PLAIN.rstrip("\n").encode(),
        b'"id","sequence","label"\n"a","ACGT","x"\n"b","GGCC","y"\n',
        b" id , sequence , label\n a , ACGT , x \nb,GGCC,y\n",
    ],
    ids=["windows-ends", "byte-order-mark", "gzip", "no-last-end", "quoted", "spaces"],
)
def test_ways_of_writing_a_table_read_the_same(tmp_path, content):
    assert rows(write(tmp_path / "t.csv", content), COLUMNS) == ROWS


def test_columns_come_in_the_order_asked_for_and_absent_optional_ones_are_empty(tmp_path):
    path = write(tmp_path / "t.csv", PLAIN)
    assert rows(path, ["label", "id"], ("group", "sequence")) == [
        (2, ["x", "a", "", "ACGT"]),
        (3, ["y", "b", "", "GGCC"]),
    ]


def test_a_column_is_found_in_other_case_only_where_that_is_one(tmp_path):
    assert rows(write(tmp_path / "t.csv", "ID\na\n"), ["id"]) == [(2, ["a"])]
    with pytest.raises(SourceError, match="there are: ID, Id"):
        rows(write(tmp_path / "t.csv", "ID,Id\na,b\n"), ["id"])


def test_empty_lines_are_passed_over_and_counted(tmp_path):
    assert rows(write(tmp_path / "t.csv", "\n" + PLAIN.replace("\nb", "\n\n  \nb")), COLUMNS) == [
        (3, ["a", "ACGT", "x"]),
        (6, ["b", "GGCC", "y"]),
    ]


def test_a_quote_within_a_cell_is_a_letter(tmp_path):
    assert rows(write(tmp_path / "t.tsv", 'id\tgene\na\t5"-end\nb\tx\n'), ["gene"]) == [(2, ['5"-end']), (3, ["x"])]


def test_a_quoted_cell_may_span_lines_and_the_row_is_named_by_its_first(tmp_path):
    path = write(tmp_path / "t.csv", 'id,text\na,"one\ntwo, ""three"""\nb,x\n')
    assert rows(path, ["id", "text"]) == [(2, ["a", 'one\ntwo, "three"']), (4, ["b", "x"])]


# The reader strips space around cells and ends lines at \n only, so cells are compared without these.
cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8).map(str.strip)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), max_size=5)),
    st.sampled_from(",\t;"),
)
def test_any_table_that_the_csv_module_writes_reads_back_equal(tmp_path_factory, table, delimiter):
    header = [f"c{index}" for index in range(len(table[0]) if table else 2)]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *table])
    path = write(tmp_path_factory.mktemp("t") / "t", text.getvalue())
    assert [row.cells for row in read_rows(path, header)] == table


@pytest.mark.parametrize(
    ("content", "columns", "complaint"),
    [
        ("", [], "empty"),
        ("\n \n", [], "empty"),
        (PLAIN, ["family"], "no column 'family'; there are: id, sequence, label"),
        ("id,id\na,b\n", ["id"], "2 columns are called 'id'"),
        ("id,label\na,b\nc\n", ["id"], r"line 3: 1 cells, where the header has 2 \(separated by commas\)"),
        ("id,label\na,b,c\n", ["id"], "line 2: 3 cells, where the header has 2"),
        ('id,label\na,"b"c\n', ["id"], "line 2: a quoted cell goes on behind"),
        ('id,label\na,"b\nc,d\n', ["id"], "line 2: a quoted cell begins in this row and never ends"),
        (PLAIN.replace("\n", "\r"), ["id"], "carriage returns alone"),
        (PLAIN.encode("utf-16"), ["id"], "UTF-16"),
        (PLAIN.encode("utf-16-le"), ["id"], "line 1: a zero byte"),
        ("id,label\nä,b\n".encode("latin-1"), ["id"], "line 2: byte 0xe4 at position 1 of the line is not UTF-8"),
        (b"\x89HDF\r\n\x1a\n\0\0\0", ["id"], "not UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(tmp_path, content, columns, complaint):
    path = write(tmp_path / "t.csv", content)
    with pytest.raises(SourceError, match=complaint) as caught:
        rows(path, columns)
    assert caught.value.file == path
    assert caught.value.remedy


def test_compression_cut_short_is_refused(tmp_path):
    packed = gzip.compress(random.Random(1).randbytes(50_000).hex().encode())
    path = write(tmp_path / "t.csv.gz", packed[: len(packed) // 2])
    with pytest.raises(SequenceError, match="cut short"):
        rows(path, [])


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_row_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, quote):
    monkeypatch.setattr("seqclass.data.delimited._LONGEST_ROW", 1000)
    line = b"A" * 100 + (b"\n" if quote else b"")
    path = write(tmp_path / "t.csv", b"id\n" + quote + line * 1000)
    with pytest.raises(SourceError, match="line 2: a row of more than"):
        rows(path, ["id"])


def test_a_sequence_longer_than_the_csv_module_reads_is_no_trouble(tmp_path):
    sequence = "ACGT" * 100_000
    for written in (sequence, f'"{sequence}"'):
        assert rows(write(tmp_path / "t.csv", f"id,sequence\na,{written}\n"), ["sequence"]) == [(2, [sequence])]


def test_a_pipe_is_no_header_to_look_at_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        read_header(tmp_path / "pipe")


def test_damaged_tables_read_or_are_refused(tmp_path):
    chance = random.Random(5)
    whole = "id,sequence,label\n" + "".join(f'p{i},"AC{i}GT",class {i % 3}\n' for i in range(30))
    seen = set()
    for number in range(400):
        data = bytearray(gzip.compress(whole.encode()) if number % 4 == 0 else whole.encode())
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 3)] = chance.choice([b"", b'"', b"\n", b",", b"\0", b"\xff", b"\r"])
        path = write(tmp_path / "t.csv", bytes(data[: chance.randint(1, len(data))] if chance.random() < 0.3 else data))
        try:
            seen.add(len(rows(path, ["id", "sequence"])))
        except SeqclassError:
            seen.add(-1)
    assert -1 in seen
    assert 30 in seen
