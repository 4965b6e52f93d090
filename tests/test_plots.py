"""Pictures and track files of saliency."""

from __future__ import annotations

import gzip
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import PathPatch
from matplotlib.text import Text

from seqclass.alphabets import DNA, PROTEIN
from seqclass.attribution import plot_style
from seqclass.attribution.logos import at_own_letters, information
from seqclass.attribution.plot_features import Feature, arrange, read_features
from seqclass.attribution.plot_mutagenesis import plot_mutagenesis
from seqclass.attribution.plot_style import LETTERS, WIDTHS
from seqclass.attribution.plots import Mark, most_salient, plot_saliency
from seqclass.attribution.track_files import Stretch, write_bedgraph, write_bigwig, write_table
from seqclass.data.intervals import Region
from seqclass.errors import IntervalError, OutputExistsError, SeqclassError

_MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=120)


@pytest.mark.parametrize("format", _MAGIC)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_picture_has_the_format_and_the_width_that_were_asked_for(
    tmp_path: Path, values: np.ndarray, format: str, width: str
) -> None:
    path = tmp_path / f"a.{format}"
    features = [Feature(3, 60, "gene", 1), Feature(-5, 9, "motif", -1)]
    tracks, strips = {"method, target 1": values}, {"method, target 2": -values}
    plot_saliency(path, "ACGTN" * 24, tracks, strips=strips, features=features, marks=[Mark(3, 9, "m")], width=width)
    assert path.read_bytes().startswith(_MAGIC[format])
    if format == "png":
        assert imread(path).shape[1] == round(300 * WIDTHS[width])
        assert imread(path)[..., :3].std() > 0.05


def texts(path: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)", path.read_text()))


def test_names_and_annotation_stay_text_and_signs_are_no_mathematics(tmp_path: Path, values: np.ndarray) -> None:
    features = [Feature(10, 110, "YAL$_1$", 1)]
    plot_saliency(tmp_path / "a.svg", "ACGT" * 30, {r"$\frac$": values}, features=features, title="$x_$", detail=0)
    assert {r"$\frac$", "YAL$_1$", "$x_$"} <= set(texts(tmp_path / "a.svg").split())


def test_the_same_numbers_give_the_same_file(tmp_path: Path, values: np.ndarray) -> None:
    for name in ("a", "b"):
        for format in _MAGIC:
            plot_saliency(tmp_path / f"{name}.{format}", "ACGT" * 30, {"one": values}, detail=0)
    for format in _MAGIC:
        assert (tmp_path / f"a.{format}").read_bytes() == (tmp_path / f"b.{format}").read_bytes()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, to be asked what they hold."""
    figures: list[Figure] = []

    def keep(**options: Any) -> Figure:
        figures.append(Figure(**options))
        return figures[-1]

    monkeypatch.setattr(plot_style, "Figure", keep)
    return figures


def test_bases_are_counted_from_0_and_residues_from_1(tmp_path: Path, drawn: list[Figure]) -> None:
    for unit, sequence in (("bp", "ACGT" * 10), ("residues", "MKVL" * 10)):
        plot_saliency(tmp_path / f"{unit}.svg", sequence, {"one": np.arange(40.0)}, unit=unit, start=100, detail=0)
    assert [figure.axes[0].get_xlim() for figure in drawn] == [(99.5, 139.5), (100.5, 140.5)]


def test_nothing_is_printed_smaller_than_five_points(tmp_path: Path, values: np.ndarray, drawn: list[Figure]) -> None:
    features = [Feature(3, 60, "gene", 1)]
    plot_saliency(tmp_path / "a.png", "ACGT" * 30, {"x": values}, strips={"y": values}, features=features, title="t")
    tokens = np.random.default_rng(0).integers(0, 20, 30).astype(np.uint8)
    plot_mutagenesis(tmp_path / "b.png", tokens, np.random.default_rng(0).normal(size=(30, 20)), PROTEIN)
    sizes = [text.get_fontsize() for figure in drawn for text in figure.findobj(Text) if text.get_text()]
    assert len(sizes) > 30
    assert min(sizes) >= 5


def test_letters_stand_as_high_as_their_values(tmp_path: Path, drawn: list[Figure]) -> None:
    values = np.array([0.5, -0.25, 1.0, 0.75])
    plot_saliency(tmp_path / "a.png", "ACGT", {"x": values})
    boxes = [patch.get_path().get_extents() for patch in drawn[0].axes[-1].patches if isinstance(patch, PathPatch)]
    assert len(boxes) == 4
    for box, value, place in zip(sorted(boxes, key=lambda box: box.x0), values, range(4), strict=True):
        assert (box.y0, box.y1) == pytest.approx((min(0, value), max(0, value)), abs=1e-6)
        assert place - 0.5 <= box.x0 < box.x1 <= place + 0.5


def test_the_letters_are_those_of_the_most_salient_stretch() -> None:
    values = np.zeros(500)
    values[300:306] = 1
    left, right = most_salient(values, 60)
    assert right - left == 60
    assert left < 300 < 306 < right
    assert most_salient(values[:20], 60) == (0, 20)


def test_the_map_shows_each_effect_at_its_letter_and_place(tmp_path: Path, drawn: list[Figure]) -> None:
    generator = np.random.default_rng(0)
    tokens, effects = generator.integers(0, 5, 30).astype(np.uint8), generator.normal(size=(30, 4))
    plot_mutagenesis(tmp_path / "a.png", tokens, effects, DNA, start=50)
    image = drawn[0].axes[1].images[0]
    np.testing.assert_array_equal(image.get_array(), effects.T)
    assert tuple(image.get_extent()) == (49.5, 79.5, 3.5, -0.5)
    assert image.norm.vmax == -image.norm.vmin == np.abs(effects).max()
    dots = drawn[0].axes[1].lines[0].get_xydata()
    assert {(int(x) - 50, int(y)) for x, y in dots} == {(i, t) for i, t in enumerate(tokens) if t < 4}
    with pytest.raises(SeqclassError, match=r"effects of shape \(30, 4, 1\) for 30 positions"):
        plot_mutagenesis(tmp_path / "b.png", tokens, effects[..., None], DNA)
    assert not (tmp_path / "b.png").exists()


def as_a_deuteranope_sees(colour: str) -> np.ndarray:
    """Vienot, Brettel and Mollon 1999, on linear light."""
    linear = np.array(to_rgb(colour)) ** 2.2
    return np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]) @ linear


def test_the_four_bases_differ_for_the_colour_blind() -> None:
    seen = [as_a_deuteranope_sees(colour) for colour in LETTERS[DNA].values()]
    apart = [np.abs(a - b).max() for number, a in enumerate(seen) for b in seen[:number]]
    assert min(apart) > 0.1
    confusable = [as_a_deuteranope_sees(colour) for colour in ("#c00000", "#508000")]
    assert np.abs(confusable[0] - confusable[1]).max() < 0.1


def test_a_files_ending_must_name_a_format_of_pictures(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(SeqclassError, match=r"Let it end in .png, .svg or .pdf"):
        plot_saliency(tmp_path / "a.docx", "ACGT" * 30, {"x": values})
    plot_saliency(tmp_path / "a.png", "ACGT" * 30, {"x": values}, detail=0)
    with pytest.raises(OutputExistsError):
        plot_saliency(tmp_path / "a.png", "ACGT" * 30, {"x": values}, detail=0)


def test_information_is_two_bits_of_a_certain_base_and_none_of_the_background() -> None:
    ppm = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(information(ppm).sum(axis=1), [2, 0, 1], atol=1e-9)
    np.testing.assert_allclose(information(ppm)[2], [0.5, 0.5, 0, 0], atol=1e-9)
    skewed = np.array([0.4, 0.1, 0.1, 0.4])
    np.testing.assert_allclose(information(skewed[None], skewed), 0, atol=1e-9)
    np.testing.assert_array_equal(at_own_letters(np.array([3.0, 5]), np.array([1, 4], np.uint8), DNA)[1], 0)


BED = "track name=x\nchrI\t100\t200\tg1\t0\t-\nchrI 150 400 g2\nchrII\t100\t200\tno\nchrI\t300\t310\n"
GFF = (
    "##gff-version 3\nchrI\tS\tgene\t101\t200\t.\t-\t.\tID=x;Name=g%201\n"
    "chrI\tS\tCDS\t151\t400\t.\t+\t0\tID=c\nchrI\tS\tgene\t501\t600\t.\t+\t.\tID=far\n##FASTA\n>chrI\nACGT\n"
)


def test_features_are_read_from_bed_and_gff_relative_to_the_region(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text(BED)
    with gzip.open(tmp_path / "a.gff3.gz", "wt") as stream:
        stream.write(GFF)
    region = Region("chrI", 50, 350)
    assert read_features(tmp_path / "a.bed", region) == [
        Feature(50, 150, "g1", -1),
        Feature(100, 350, "g2", 0),
        Feature(250, 260, "", 0),
    ]
    both = [Feature(50, 150, "g 1", -1), Feature(100, 350, "c", 1)]
    assert read_features(tmp_path / "a.gff3.gz", region) == both
    assert read_features(tmp_path / "a.gff3.gz", region, ["gene"]) == both[:1]
    (tmp_path / "b.gtf").write_text('chrI\tS\texon\t51\t60\t.\t+\t.\tgene_id "i"; gene_name "ACT1";\n')
    assert read_features(tmp_path / "b.gtf", region) == [Feature(0, 10, "ACT1", 1)]


@pytest.mark.parametrize("line", ["chrI\t5", "chrI\t9\t5", "chrI\tx\t5"])
def test_a_line_that_is_no_interval_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.bed").write_text(f"chrI\t1\t2\n{line}\n")
    with pytest.raises(IntervalError, match=r"a\.bed, line 2: .* is no interval"):
        read_features(tmp_path / "a.bed", Region("chrI", 0, None))


def test_features_in_one_row_stay_apart() -> None:
    generator = np.random.default_rng(0)
    starts = generator.integers(-50, 1000, 60)
    features = [Feature(int(start), int(start + generator.integers(1, 200)), "name", 0) for start in starts]
    placed = arrange(features, 1000, "column")
    for row in range(1 + max(each.row for each in placed)):
        ours = sorted((each.start, each.end) for each in placed if each.row == row)
        assert all(before[1] <= after[0] for before, after in pairwise(ours))
    assert all(0 <= each.start < each.end <= 1000 for each in placed)


def test_bedgraph_and_bigwig_hold_the_values_at_their_places(tmp_path: Path) -> None:
    values = np.array([0.5, 0.5, -1, 0, 0, 2], dtype=np.float32)
    stretches = [Stretch("chrII", 7, values), Stretch("chrI", 100, values), Stretch("chrI", 3, values[:2])]
    write_bedgraph(tmp_path / "a.bedGraph", stretches)
    lines = [line.split("\t") for line in (tmp_path / "a.bedGraph").read_text().splitlines()]
    assert lines[0] == ["chrI", "3", "5", "0.5"]
    read: dict[tuple[str, int], float] = {}
    for chrom, start, end, value in lines:
        read |= {(chrom, place): float(value) for place in range(int(start), int(end))}
    expected = {(s.chrom, s.start + i): v for s in stretches for i, v in enumerate(s.values.tolist())}
    assert read == expected
    bigwig = pytest.importorskip("pyBigWig", reason="pyBigWig is not installed")
    write_bigwig(tmp_path / "a.bw", stretches, {"chrI": 200, "chrII": 50, "chrIII": 9})
    with bigwig.open(str(tmp_path / "a.bw")) as file:
        assert file.chroms() == {"chrI": 200, "chrII": 50, "chrIII": 9}
        found = {(chrom, place): file.values(chrom, place, place + 1)[0] for chrom, place in expected}
        assert found == pytest.approx(expected)
        assert np.isnan(file.values("chrI", 50, 51)[0])


def test_tracks_that_do_not_fit_the_genome_are_named(tmp_path: Path) -> None:
    values = np.ones(5)
    with pytest.raises(IntervalError, match="chrI:8-13 overlaps what ends at 10"):
        write_bedgraph(tmp_path / "a", [Stretch("chrI", 5, values), Stretch("chrI", 8, values)])
    with pytest.raises(IntervalError, match="begins before its chromosome"):
        write_bedgraph(tmp_path / "a", [Stretch("chrI", -1, values)])
    pytest.importorskip("pyBigWig", reason="pyBigWig is not installed")
    with pytest.raises(IntervalError, match="lies on a chromosome of 9 bp"):
        write_bigwig(tmp_path / "a", [Stretch("chrI", 5, values)], {"chrI": 9})
    with pytest.raises(IntervalError, match="lies on no chromosome"):
        write_bigwig(tmp_path / "a", [Stretch("chr1", 5, values)], {"chrI": 9})
    with pytest.raises(SeqclassError, match="no values"):
        write_bigwig(tmp_path / "a", [], {"chrI": 9})
    assert not list(tmp_path.iterdir())


def test_a_table_has_a_row_for_each_residue(tmp_path: Path) -> None:
    write_table(tmp_path / "a.tsv", "s", "ACG", {"x": np.array([1, 2, 3.5]), "y": [0, 0, -1e-9]}, start=7)
    rows = [line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines()]
    assert rows[0] == ["id", "position", "letter", "x", "y"]
    assert rows[3] == ["s", "9", "G", "3.5", "-1e-09"]
