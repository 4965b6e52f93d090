"""Substitutions in proteins: against prediction of the changed sequences, and with bad lists."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from seqclass.alphabets import PROTEIN
from seqclass.bundle import Bundle
from seqclass.errors import SeqclassError, SequenceError, SourceError
from seqclass.models import create_model
from seqclass.models.deepsea import DeepSEA
from seqclass.predict import predict
from seqclass.targets import Target
from seqclass.variants import DeepMutationalScan, Substitutions, score_variants
from seqclass.variants.score import window_length

PROTEINS = {"P1": "MKVLAWXGH", "P2": "GASTC" * 6}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    model = create_model("protcnn", num_targets=2, channels=16, bottleneck=8, dilations=(1,)).eval()
    return Bundle(model, [Target("a"), Target("b")], [1, 1])


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "proteins.fa"
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in PROTEINS.items()))
    return path


def table(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def expected_delta(bundle: Bundle, before: str, after: str) -> float:
    """Of the first target's logit."""
    one, other = (each.probabilities.astype(np.float64)[0] for each in predict(bundle, [("x", before), ("y", after)]))
    return float(np.log(other / (1 - other)) - np.log(one / (1 - one)))


def test_a_deep_mutational_scan_is_every_other_residue_everywhere(bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    score_variants(bundle, DeepMutationalScan(fasta, bundle), tmp_path / "scan.tsv")
    rows = table(tmp_path / "scan.tsv")
    assert len(rows) == 19 * (8 + 30)
    assert len({(row["protein"], row["substitution"]) for row in rows}) == len(rows)
    for row in rows[:: len(rows) // 9]:
        letters = PROTEINS[row["protein"]]
        place = int(row["pos"]) - 1
        assert row["substitution"] == f"{letters[place]}{row['pos']}{row['alt']}"
        changed = letters[:place] + row["alt"] + letters[place + 1 :]
        delta = expected_delta(bundle, letters, changed)
        assert float(row["a:delta_logit"]) == pytest.approx(delta, abs=1e-4)


def test_listed_substitutions_are_made_together_where_joined(bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.tsv"
    listed.write_text("# two proteins\nP2\tG1A:A2G\nP1\tm1w\nP2\tC30Y\n")
    score_variants(bundle, Substitutions(listed, fasta, bundle), tmp_path / "out.tsv")
    rows = {(row["protein"], row["substitution"]): float(row["a:delta_logit"]) for row in table(tmp_path / "out.tsv")}
    for key, changed in {
        ("P1", "m1w"): "W" + PROTEINS["P1"][1:],
        ("P2", "G1A:A2G"): "AG" + PROTEINS["P2"][2:],
        ("P2", "C30Y"): PROTEINS["P2"][:-1] + "Y",
    }.items():
        assert rows.pop(key) == pytest.approx(expected_delta(bundle, PROTEINS[key[0]], changed), abs=1e-4)
    assert rows == {}


def test_a_model_of_fixed_length_sees_a_window_with_the_residue_in_its_middle(fasta: Path) -> None:
    model = DeepSEA(
        2,
        alphabet="protein",
        length=7,
        widths=(8,) * 3,
        kernel_size=2,
        pools=(1, 1, 1),
        hidden=8,
    )
    fixed = Bundle(model.eval(), [Target("a"), Target("b")], [1, 1], 7)
    rows = {row.labels[:2]: row.windows() for row in DeepMutationalScan(fasta, fixed).rows()}
    assert [PROTEIN.decode(tokens) for tokens in rows["P2", "C10G"]] == ["AST" + "C" + "GAS", "AST" + "G" + "GAS"]
    assert [PROTEIN.decode(tokens) for tokens in rows["P1", "K2A"]] == ["XXMKVLA", "XXMAVLA"]


def test_a_residue_that_is_not_there_is_refused_skipped_or_flagged(bundle: Bundle, fasta: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.tsv"
    listed.write_text("P1\tM1A\nP1\tA2C\nP1\tG7C\n")
    with pytest.raises(SourceError, match="line 2: A expected at 2 of 'P1', which has K"):
        Substitutions(listed, fasta, bundle)
    skipping = Substitutions(listed, fasta, bundle, ref_mismatch="skip")
    assert (skipping.count, skipping.notes) == (2, ["lines left out whose residue is not the protein's: 1"])
    flagging = Substitutions(listed, fasta, bundle, ref_mismatch="flag")
    assert [row.labels[2] for row in flagging.rows()] == ["yes", "no", "yes"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no substitution in this file"),
        ("P1\tM1\n", "line 1: 'M1' is no substitution"),
        ("P1\tM0A\n", "line 1: 'M0A' is no substitution"),
        ("P1\tM1B\n", "line 1: 'M1B' is no substitution"),
        ("P1\tM1A\nP3\tA1C\n", "line 2: there is no protein 'P3' in .*proteins.fa, which has P1, P2"),
        ("P1\tM10A\n", "line 1: residue 10 of 'P1', which has 9"),
        ("M1A\n", "line 1: no protein is named, and the FASTA file has several"),
    ],
)
def test_lists_that_cannot_be_read_are_refused(
    bundle: Bundle, fasta: Path, tmp_path: Path, text: str, said: str
) -> None:
    listed = tmp_path / "list.tsv"
    listed.write_text(text)
    with pytest.raises(SourceError, match=said):
        Substitutions(listed, fasta, bundle)


def test_the_name_may_be_left_out_where_there_is_one_protein(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "one.fa").write_text(">P1\nMKV\n")
    (tmp_path / "list.tsv").write_text("K2A\n")
    source = Substitutions(tmp_path / "list.tsv", tmp_path / "one.fa", bundle)
    assert [row.labels for row in source.rows()] == [("P1", "K2A")]


@pytest.mark.parametrize(
    ("text", "said"), [("", "the file is empty"), (">a\nMK\n>a\nMK\n", "line 3: a second record is called 'a'")]
)
def test_a_fasta_file_that_cannot_be_scanned_is_refused(bundle: Bundle, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.fa").write_text(text)
    with pytest.raises(SequenceError, match=said):
        DeepMutationalScan(tmp_path / "bad.fa", bundle)


def test_a_model_of_proteins_has_no_window_on_a_genome(bundle: Bundle) -> None:
    with pytest.raises(SeqclassError, match="the model reads protein tokens, and a VCF or a region can be scored only"):
        window_length(bundle)
