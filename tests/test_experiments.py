"""The demo, as a newcomer runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo_learns_explains_and_says_what_it_wrote(tmp_path: Path) -> None:
    """That the k-mer baseline is beaten and the motifs are found is asserted by the demo itself."""
    command = [sys.executable, str(ROOT / "experiments" / "demo.py")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "runs" / "demo"
    for name in ("bundle", "report/metrics.json", "report/per_target.tsv", "report/curves.png", "saliency.png"):
        assert (run / name).exists()
        assert f"runs/demo/{name}" in ended.stdout
    assert "tensorboard --logdir runs/demo/logs" in ended.stdout
    assert list((run / "logs").glob("events.out.tfevents.*"))
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    precision = {name: each["average_precision"]["mean"] for name, each in metrics["baselines"].items()}
    assert precision["prevalence"] < precision["kmer_logistic"] < metrics["model"]["average_precision"]["mean"]
    assert metrics["model"]["average_precision"]["mean"] < precision["true_motifs"] + 0.02
    assert [row["name"] for row in metrics["per_target"]] == ["Cbf1", "Gcn4", "Rap1", "Reb1", "Reb1+Rap1"]
    for name in ("report/curves.png", "saliency.png"):
        assert imread(run / name)[..., :3].std() > 0.05
