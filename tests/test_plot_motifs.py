"""Pictures of motifs and of in-silico experiments show the numbers that they are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from seqclass.alphabets import DNA, PROTEIN
from seqclass.attribution.in_silico import Effects
from seqclass.attribution.plot_effects import plot_effects
from seqclass.attribution.plot_motifs import plot_motifs
from seqclass.errors import SeqclassError, UnknownNameError
from seqclass.targets import Target

TARGETS = [Target("Reb1"), Target("Rap1")]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def effects(conditions: list[str]) -> Effects:
    deltas = np.random.default_rng(0).normal(size=(len(conditions), 20, 2)).astype(np.float32)
    mean = deltas.mean(axis=1)
    return Effects(conditions, deltas, mean, mean - 0.1, mean + 0.3)


def test_a_certain_base_is_two_bits_high_and_an_even_one_nothing(tmp_path: Path, drawn: list[Figure]) -> None:
    ppm = np.array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    plot_motifs(tmp_path / "motifs.png", {"filter 3": ppm, "filter 7": ppm[:1]}, DNA)
    first, second = drawn[0].axes
    assert (first.get_title(), second.get_title()) == ("filter 3", "filter 7")
    assert first.get_ylim() == second.get_ylim() == (0, 2)
    tops = [patch.get_extents().transformed(first.transData.inverted()).y1 for patch in first.patches]
    assert max(tops) == pytest.approx(2, abs=0.05)
    assert sum(top > 0.05 for top in tops) == 1


def test_motifs_that_do_not_fill_the_page_leave_empty_places(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_motifs(tmp_path / "motifs.svg", {str(number): np.eye(20)[:3] for number in range(5)}, PROTEIN)
    assert [axes.axison for axes in drawn[0].axes] == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("ppms", "found"), [({}, "no motif"), ({"odd": np.ones((5, 3))}, r"'odd' of shape \(5, 3\)")], ids=["none", "odd"]
)
def test_what_is_no_motif_is_refused(tmp_path: Path, ppms: dict[str, np.ndarray], found: str) -> None:
    with pytest.raises(SeqclassError, match=found):
        plot_motifs(tmp_path / "motifs.png", ppms, DNA)
    assert not list(tmp_path.iterdir())


def test_distances_lie_along_the_axis_and_motifs_side_by_side(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_effects(tmp_path / "space.png", effects(["0", "6", "40"]), TARGETS, ["Rap1"], condition="distance (bp)")
    plot_effects(tmp_path / "motifs.png", effects(["TTACCC", "ACACCC"]), TARGETS)
    along, beside = (figure.axes[0] for figure in drawn)
    line, _, (bars,) = along.containers[0].lines
    assert line.get_xdata().tolist() == [0, 6, 40]
    np.testing.assert_allclose(line.get_ydata(), effects(["0", "6", "40"]).mean[:, 1])
    np.testing.assert_allclose([np.ptp(segment[:, 1]) for segment in bars.get_segments()], 0.4, rtol=1e-5)
    assert [label.get_text() for label in beside.get_xticklabels()] == ["TTACCC", "ACACCC"]
    reb1, rap1 = (container.lines[0].get_xdata() for container in beside.containers)
    assert (reb1 < rap1).all()


def test_targets_that_are_not_there_or_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Gcn4"):
        plot_effects(tmp_path / "a.png", effects(["A"]), TARGETS, ["Gcn4"])
    with pytest.raises(SeqclassError, match="8 targets"):
        plot_effects(tmp_path / "a.png", effects(["A"]), [Target(str(number)) for number in range(8)])
    assert not list(tmp_path.iterdir())
