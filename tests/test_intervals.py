import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqclass.data.intervals import Region, Union, parse_region, read_intervals
from seqclass.errors import IntervalError, SequenceError

NARROW_PEAK = "chr1\t{start}\t{end}\tp\t0\t.\t1\t2\t3\t{summit}\n"


def test_reads_bed_and_passes_over_what_is_no_interval(tmp_path):
    file = tmp_path / "a.bed"
    file.write_text('# made by hand\ntrack name="x"\nbrowser hide all\n\nchr2\t5\t9\tReb1\r\nchr1 0 1\ntrack7\t3\t4\n')
    intervals = read_intervals(file)
    assert [intervals.chroms[c] for c in intervals.chrom] == ["chr2", "chr1", "track7"]
    assert [intervals.names[n] for n in intervals.name] == ["Reb1", "", ""]
    assert (intervals.start.tolist(), intervals.end.tolist()) == ([5, 0, 3], [9, 1, 4])
    assert intervals.line.tolist() == [5, 6, 7]
    assert intervals.summit.tolist() == [-1, -1, -1]


def test_gzip_is_read_as_plain(tmp_path):
    plain, packed = tmp_path / "a.bed", tmp_path / "b.bed.gz"
    plain.write_text("chr1\t1\t2\n" * 3)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_intervals(packed).start.tolist() == read_intervals(plain).start.tolist() == [1, 1, 1]


def test_empty_file_has_no_intervals(tmp_path):
    (tmp_path / "a.bed").write_text("# nothing\n")
    assert len(read_intervals(tmp_path / "a.bed")) == 0


def test_column_ten_of_narrow_peak_is_the_summit_on_the_chromosome(tmp_path):
    file = tmp_path / "a.narrowPeak"
    file.write_text(NARROW_PEAK.format(start=100, end=150, summit=7) + NARROW_PEAK.format(start=9, end=10, summit=-1))
    assert read_intervals(file).summit.tolist() == [107, -1]


def test_column_ten_of_bed12_is_no_summit(tmp_path):
    file = tmp_path / "a.bed"
    file.write_text("chr1\t100\t150\tgene\t0\t+\t100\t150\t0\t2\t10,10\t0,40\n")
    assert read_intervals(file).summit.tolist() == [-1]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("chr1\t5", "2 columns"),
        ("chr1", "1 column "),
        ("chrom\tstart\tend", "'start' and 'end'"),
        ("chr1\t-5\t9", "'-5'"),
        ("chr1\t5.0\t9", "'5.0'"),
        ("chr1\t1_0\t90", "'1_0'"),
        ("chr1\t0\t99999999999999999999", "'99999999999999999999'"),
        ("chr1\t" + "9" * 5000 + "\t5", "999' and '5'"),
        ("chr1\t9\t5", "9-5"),
        ("chr1\t9\t9", "9-9"),
        (NARROW_PEAK.format(start=5, end=9, summit=4).strip(), "column 10 is '4'"),
        (NARROW_PEAK.format(start=5, end=9, summit="x").strip(), "column 10 is 'x'"),
        (NARROW_PEAK.format(start=5, end=9, summit="9" * 5000).strip(), "column 10 is '999"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, found):
    file = tmp_path / "a.bed"
    file.write_text(f"chr1\t0\t1\n{line}\n")
    with pytest.raises(IntervalError) as error:
        read_intervals(file)
    assert found in str(error.value)
    assert str(error.value).startswith(f"{file}, line 2: ")
    assert error.value.remedy


def test_damaged_gzip_is_one_clear_error(tmp_path):
    file = tmp_path / "a.bed.gz"
    file.write_bytes(gzip.compress(b"chr1\t0\t1\n" * 10_000)[:-20])
    with pytest.raises(SequenceError, match="cut short"):
        read_intervals(file)


def test_regions_are_one_based_and_inclusive_outside():
    assert parse_region("chr7:30508751-35296850") == Region("chr7", 30508750, 35296850)
    assert parse_region("chr7:30,508,751-35,296,850") == Region("chr7", 30508750, 35296850)
    assert parse_region("VII:1-1") == Region("VII", 0, 1)
    assert parse_region("VII") == Region("VII", 0, None)


@pytest.mark.parametrize(
    "text", ["", "chr7:", "chr7:5", "chr7:0-5", "chr7:9-5", "chr7:a-b", "chr7:-5-9", "chr 7", f"chr7:1-{'9' * 5000}"]
)
def test_a_wrong_region_is_refused(text):
    with pytest.raises(IntervalError, match="is not a region"):
        parse_region(text)


stretches = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 15)).map(lambda pair: (pair[0], sum(pair))), max_size=8
)


@given(stretches, stretches)
def test_union_covers_what_counting_every_position_says(intervals, questions):
    positions = np.zeros(100, dtype=int)
    for start, end in intervals:
        positions[start:end] = 1
    union = Union([start for start, _ in intervals], [end for _, end in intervals])
    assert (union.end - union.start).sum() == positions.sum()
    assert (union.start[1:] > union.end[:-1]).all()
    found = union.covered([start for start, _ in questions], [end for _, end in questions])
    assert found.tolist() == [positions[start:end].sum() for start, end in questions]
