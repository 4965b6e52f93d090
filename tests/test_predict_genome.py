"""Tracks along a genome: compared with windows cut out and scored one by one, and means taken base by base."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.errors import OutputExistsError, SeqclassError
from seqclass.predict import portions, predict, run, write_tracks
from seqclass.targets import Target

WINDOW, BIN = 64, 32


def random_genome() -> dict[str, str]:
    """Three chromosomes: with an N stretch of several bins, of no whole number of bins, and shorter than a bin."""
    generator = np.random.default_rng(0)
    one, two, three = ("".join(generator.choice(list("ACGT"), length)) for length in (700, 333, 10))
    return {"chrB": one[:150] + "N" * 200 + one[350:], "chrA": "N" * 40 + two, "tiny": three}


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{chrom}\n{letters}\n" for chrom, letters in random_genome().items()))
    return path


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle()


@pytest.fixture(autouse=True)
def _in_portions_of_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_STRETCHES", 5)


def by_hand(bundle: Bundle, stride: int) -> dict[str, NDArray[np.float64]]:
    """`(length, targets)` of each chromosome, NaN where there is no value."""
    found = {}
    for chrom, letters in random_genome().items():
        sums, counts = np.zeros((len(letters), 3)), np.zeros(len(letters))
        around = "N" * WINDOW + letters + "N" * 2 * WINDOW
        starts = [at for at in range(0, len(letters), stride) if set(letters[at : at + BIN]) != {"N"}]
        windows = [around[at + WINDOW - (WINDOW - BIN) // 2 :][:WINDOW] for at in starts]
        for at, one in zip(starts, predict(bundle, windows), strict=True):
            sums[at : at + BIN] += one.probabilities
            counts[at : at + BIN] += 1
        with np.errstate(invalid="ignore"):
            found[chrom] = sums / counts[:, None]
    return found


@pytest.mark.parametrize("stride", [16, 32, 50])
def test_bigwig_holds_at_every_base_the_mean_of_the_windows_scored_there(
    bundle: Bundle, genome: Path, tmp_path: Path, stride: int
) -> None:
    pybigwig = pytest.importorskip("pyBigWig", reason="bigWig needs pyBigWig")
    write_tracks(bundle, genome, tmp_path / "tracks", stride=stride)
    rows = [line.split("\t") for line in (tmp_path / "tracks" / "tracks.tsv").read_text().splitlines()]
    assert rows == [["target", "group", "file"], *([f"t{i}", "", f"t{i}.bw"] for i in range(3))]
    expected = by_hand(bundle, stride)
    for column in range(3):
        with pybigwig.open(str(tmp_path / "tracks" / f"t{column}.bw")) as file:
            assert file.chroms() == {chrom: len(values) for chrom, values in expected.items()}
            for chrom, values in expected.items():
                found = np.array(file.values(chrom, 0, len(values)))
                np.testing.assert_allclose(found, values[:, column], atol=1e-5, equal_nan=True)
    assert np.isnan(expected["chrB"][200]).all(), "there must be a place without a value"


@pytest.mark.parametrize("stride", [8, 32, 50])
def test_hdf5_holds_the_same_at_the_beginning_of_every_stride(
    bundle: Bundle, genome: Path, tmp_path: Path, stride: int
) -> None:
    write_tracks(bundle, genome, tmp_path / "tracks.h5", stride=stride)
    with h5py.File(tmp_path / "tracks.h5") as file:
        for chrom, values in by_hand(bundle, stride).items():
            np.testing.assert_allclose(file[f"tracks/{chrom}"][:], values[::stride], atol=1e-5, equal_nan=True)
        assert file["targets"].asstr()[:].tolist() == ["t0", "t1", "t2"]
        assert file["chromosomes/name"].asstr()[:].tolist() == list(random_genome())
        assert (file.attrs["stride"], file.attrs["bin"]) == (stride, BIN)


def test_a_genome_run_that_was_stopped_goes_on_to_the_same_bytes(
    bundle: Bundle, genome: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.h5", tmp_path / "out.h5"
    windows = write_tracks(bundle, genome, whole)
    score, calls = run.score_portion, []

    def interrupted(*given: Any) -> portions.Rows:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(*given)

    monkeypatch.setattr(run, "score_portion", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_tracks(bundle, genome, out)
    with pytest.raises(SeqclassError, match="another stride"):
        write_tracks(bundle, genome, out, stride=16, resume=True)
    assert write_tracks(bundle, genome, out, resume=True) == windows
    assert out.read_bytes() == whole.read_bytes()
    assert len(calls) == 1 + -(-windows // 5)


def test_a_genome_is_scored_from_the_command_line(
    bundle: Bundle, genome: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(tmp_path / "bundle")
    line = ["predict", str(tmp_path / "bundle"), "--genome", str(genome), "--out", str(tmp_path / "tracks.h5")]
    main([*line, "--stride", "64"])
    assert "wrote " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*line, "--force", "--stride", "10"])
    told = capsys.readouterr().err
    assert told.startswith(
        "error: a stride of 10 bp, where a window is scored for 32 bp. Let --stride divide that (32, 16, 8)"
    )
    assert told.count("\n") == 1


@pytest.mark.parametrize("stride", [0, -1, 12, 31])
def test_a_stride_that_does_not_fit_the_bin_is_refused(
    bundle: Bundle, genome: Path, tmp_path: Path, stride: int
) -> None:
    with pytest.raises(SeqclassError, match="--stride divide"):
        write_tracks(bundle, genome, tmp_path / "tracks.h5", stride=stride)


def test_what_is_no_genome_or_no_model_of_one_is_refused(
    bundle: Bundle, make_bundle: Callable[..., Bundle], genome: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tracks.h5"
    for other in (make_bundle(alphabet="protein"), replace(make_bundle(pool="centre-max"), window=None)):
        with pytest.raises(SeqclassError, match="only with a model of windows of DNA"):
            write_tracks(other, genome, out)
    (tmp_path / "n.fa").write_text(">a\n" + "N" * 500 + "\n")
    with pytest.raises(SeqclassError, match=r"n\.fa: all of the genome is N"):
        write_tracks(bundle, tmp_path / "n.fa", out)
    with pytest.raises(SeqclassError, match="to be read, so it is not replaced"):
        write_tracks(bundle, genome, tmp_path, force=True)
    out.write_text("old")
    with pytest.raises(OutputExistsError):
        write_tracks(bundle, genome, out)
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"genome.fa", "n.fa", "tracks.h5"}


@pytest.fixture
def few_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (120, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_open_files")
def test_more_targets_than_files_that_may_usually_be_open(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """And their names differ only in what names of files cannot hold."""
    pytest.importorskip("pyBigWig", reason="bigWig needs pyBigWig")
    bundle = make_bundle(num_targets=130)
    bundle.targets = [Target("T" + "/" * (number % 13) + ":" * (number // 13)) for number in range(130)]
    (tmp_path / "genome.fa").write_text(">a\n" + "ACGT" * 20 + "\n")
    write_tracks(bundle, tmp_path / "genome.fa", tmp_path / "tracks")
    table = (tmp_path / "tracks" / "tracks.tsv").read_text().splitlines()[1:]
    assert len({line.split("\t")[2] for line in table}) == len(list((tmp_path / "tracks").glob("*.bw"))) == 130
