"""Models of embeddings from simulated HDF5 files to scores, on the command line, against the best possible rule."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.simulate.embeddings import simulate_embeddings
from seqclass.models import create_model

BEST = 0.97


def import_simulated(folder: Path, labels: str = "label", **options: object) -> Path:
    """A store of simulated embeddings of 16 numbers."""
    data = simulate_embeddings(folder / "data", dimensions=16, accuracy=BEST, **options)
    if labels == "is_first":
        with (data / "labels.tsv").open() as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        lines = [f"{row['id']}\t{int(row['label'] == 'class_1')}\t{row['split']}\n" for row in rows]
        (data / "labels.tsv").write_text("id\tis_first\tsplit\n" + "".join(lines))
    store = folder / "store.h5"
    table = ["--labels-table", str(data / "labels.tsv"), "--labels", labels, "--split", "split"]
    main(["data", "import", "embeddings", str(data / "embeddings.h5"), *table, "--out", str(store)])
    return store


def fit(model: str, store: Path, out: Path, *options: str) -> None:
    quick = ["--trainer.max_epochs=6", "--data.batch_size=32", "--trainer.precision=32-true", "--baselines=false"]
    rate = "--recipe.learning_rate=0.01"
    main(["fit", "--model", model, f"--data.store={store}", f"--out={out}", rate, *quick, *options])


@pytest.mark.parametrize(("classes", "labels", "logits"), [(2, "is_first", 1), (2, "label", 2), (5, "label", 5)])
def test_an_embedding_mlp_comes_near_the_best_rule(tmp_path: Path, classes: int, labels: str, logits: int) -> None:
    store = import_simulated(tmp_path, labels, classes=classes, proteins=800)
    fit("embedding_mlp", store, tmp_path / "run", "--model.hidden=[32,16]")
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert (bundle.model.num_targets, bundle.model.vector_size) == (logits, 16)
    main(["evaluate", str(tmp_path / "run" / "bundle"), str(store), "--out", str(tmp_path / "report")])
    for file in (tmp_path / "run" / "report" / "metrics.json", tmp_path / "report" / "metrics.json"):
        metrics = json.loads(file.read_text())
        assert metrics["model"]["auroc"]["mean"] > 0.97
        if logits > 1:
            assert metrics["accuracy"]["label"]["model"]["accuracy"] > BEST - 0.08


def test_light_attention_learns_from_the_vectors_of_residues(tmp_path: Path) -> None:
    store = import_simulated(tmp_path, classes=3, proteins=400, residues=True)
    fit("light_attention", store, tmp_path / "run", "--model.kernel_size=3")
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert metrics["model"]["auroc"]["mean"] > 0.95


def test_light_attention_equals_the_plain_channels_first_network() -> None:
    model = create_model("light_attention", num_targets=3, vector_size=6, kernel_size=5, hidden=7)
    vectors = torch.randn(8, 30, 6)
    model(vectors)  # moves the batch norm's statistics off their first values
    model.eval()
    weights = model.state_dict()
    for row, length in zip(vectors, [30, 1, 2, 9, 17, 22, 29, 30], strict=True):
        image = row[:length].T.unsqueeze(0)
        values = F.conv1d(image, weights["head.pool.values.weight"], weights["head.pool.values.bias"], padding="same")
        scores = F.conv1d(image, weights["head.pool.attention.weight"], padding="same")
        x = torch.cat([(values * scores.softmax(dim=2)).sum(dim=2), values.amax(dim=2)], dim=1)
        norm = nn.BatchNorm1d(7).eval()
        norm.load_state_dict(
            {"num_batches_tracked": torch.tensor(1)}
            | {key.removeprefix("head.norm."): value for key, value in weights.items() if key.startswith("head.norm.")}
        )
        expected = (
            norm(x @ weights["head.dense.weight"].T).relu() @ weights["head.out.weight"].T + weights["head.out.bias"]
        )
        padded = torch.cat([row[:length], 9 * torch.randn(4, 6)]).unsqueeze(0)
        torch.testing.assert_close(model(padded, (torch.arange(length + 4) < length).unsqueeze(0)), expected)


def test_predicting_letters_with_a_model_of_vectors_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = import_simulated(tmp_path, classes=2, proteins=200)
    fit("embedding_mlp", store, tmp_path / "run", "--trainer.max_epochs=1", "--model.hidden=[4]")
    (tmp_path / "in.fa").write_text(">a\nACDEFGH\n")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(tmp_path / "run" / "bundle"), str(tmp_path / "in.fa"), "--out", str(tmp_path / "out.tsv")])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith("error: sequences, where the model reads vectors of 16 numbers. Turn them into vectors with")
    assert told.count("\n") == 1
    assert not (tmp_path / "out.tsv").exists()
