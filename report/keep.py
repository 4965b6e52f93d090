"""Keeps what a run measured as one small file of experiments/results/, from which tables and the paper are made.

python report/keep.py run runs/pfam --hardware "..." --out experiments/results/pfam_protcnn-random-1.json
python report/keep.py language runs/dna_lm --hardware "..." --out experiments/results/dna_language_model.json
python report/keep.py compare runs/from_lm runs/from_none --out experiments/results/language_model-pfam.json
python report/keep.py printed saliency.log --command "..." --out experiments/results/yeast_saliency-400.json
python report/keep.py demo runs/demo runs/demo-data --hardware "..." --out experiments/results/demo.json
python report/keep.py documented docs/speed.md --hardware "..." --out experiments/results/documented-speed.json
"""

import argparse
import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqclass.atomic import atomic_file
from seqclass.attribution.attribute import attribute
from seqclass.bundle import Bundle
from seqclass.data.simulate.peaks import PAIR_TARGET
from seqclass.data.store import Store
from seqclass.data.tape import read_samples
from seqclass.errors import SeqclassError
from seqclass.evaluation.compare import compare_runs
from seqclass.evaluation.evaluate import judged_samples
from seqclass.predict import score_samples
from seqclass.saved import load_trained
from seqclass.targets import find_target

ACCURACY = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "top_5_accuracy", "intervals", "samples", "classes")
TRAINING = (
    "experiment",
    "seed",
    "epochs",
    "batch_size",
    "precision",
    "training_seconds",
    "steps",
    "kept_epoch",
    "versions",
)
CURVES = ("train/loss", "valid/loss", "valid/accuracy", "valid/average_precision", "valid/auroc")
MAPS = ("mutagenesis", "integrated-gradients", "hirescam", "grad-cam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, keep in KINDS.items():
        kind = kinds.add_parser(name, help=(keep.__doc__ or "").splitlines()[0])
        places = {"compare": ["first", "second"], "demo": ["run", "data"]}.get(name, ["run"])
        for place in places:
            kind.add_argument(place, type=Path)
        if name == "run":
            kind.add_argument("--report", type=Path, help="folder of the report (default: report/ of the run)")
        if name == "printed":
            kind.add_argument("--command", required=True, help="that printed it")
        kind.add_argument("--hardware", help="what it ran on, in words")
        kind.add_argument("--out", type=Path, required=True)
    options = vars(parser.parse_args())
    kept = {"hardware": options.pop("hardware")}
    keep, out = KINDS[options.pop("kind")], options.pop("out")
    try:
        kept |= keep(**options)
        with atomic_file(out, force=True) as partial:
            partial.write_text(json.dumps(rounded(kept), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except SeqclassError as error:
        parser.error(str(error))
    print(f"{out}: {out.stat().st_size:,} bytes")


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "Give a folder that 'seqclass fit' or 'seqclass evaluate' wrote"
        raise SeqclassError("there is no such file", remedy=remedy, file=path) from None


def keep_run(run: Path, report: Path | None = None) -> dict[str, Any]:
    """A classifier: how it was trained, its scores beside the baselines', and its curves."""
    report = report or run / "report"
    folder = run / "bundle" if (run / "bundle").exists() else run
    metrics, config = read_json(report / "metrics.json"), read_json(folder / "config.json")
    with open(report / "per_target.tsv", encoding="utf-8", newline="") as file:
        targets = list(csv.DictReader(file, delimiter="\t"))
    groups = metrics.get("accuracy", {})
    kept = {
        **training(config["provenance"]),
        "parameters": parameters(folder),
        "data": data(metrics),
        "test": {
            "samples": metrics["samples"],
            "bootstrap": metrics.get("bootstrap"),
            "scores": {"model": metrics["model"], **metrics["baselines"]},
            "accuracy": {
                group: {scorer: {key: each[key] for key in ACCURACY if key in each} for scorer, each in scorers.items()}
                for group, scorers in groups.items()
            },
            "comparisons": metrics.get("comparisons", []),
            "strata": {group: strata(scorers) for group, scorers in metrics.get("strata", {}).items()},
            "recall": {row["name"]: float(row["recall"]) for row in targets if row["group"] in groups}
            if len(groups) and len(targets) < 30
            else {},
            "targets": [per_target(row) for row in targets if row["group"] not in groups and metrics["baselines"]],
        },
    }
    if (run / "logs").exists():
        kept["curves"] = curves(run / "logs")
    return kept


def keep_language(run: Path) -> dict[str, Any]:
    """A language model: how it was trained, and its bits a letter beside those of simpler ones."""
    folder = run / "language_model"
    provenance = read_json(folder / "config.json").get("provenance", {})
    return {
        **training(provenance),
        "settings": settings(run / "config.yaml"),
        "parameters": parameters(folder),
        "scores": read_json(run / "scores.json"),
        "curves": curves(run / "logs"),
    }


def keep_comparison(first: Path, second: Path) -> dict[str, Any]:
    """Two classifiers on the same test sets drawn anew."""
    found = compare_runs([first, second])
    names = {str(path): path.name for path in (first, second)}
    for each in found["comparisons"]:
        each.update(first=names[each["first"]], second=names[each["second"]])
        del each["verdict"]
    found["runs"] = {names[name]: figures for name, figures in found["runs"].items()}
    return found


def keep_printed(run: Path, command: str) -> dict[str, Any]:
    """The table that a script printed."""
    lines = [line.split("\t") for line in run.read_text(encoding="utf-8").splitlines()]
    header = next((cells for cells in lines if len(cells) > 3), None)
    if header is None:
        raise SeqclassError("no line holds a table's header", remedy="Give what the script printed", file=run)
    rows = [[number(cell) for cell in cells] for cells in lines[lines.index(header) + 1 :] if len(cells) == len(header)]
    said = [cells[0] for cells in lines[: lines.index(header)]]
    return {"command": command, "said": said, "columns": header, "rows": rows}


def keep_demo(run: Path, data: Path) -> dict[str, Any]:
    """The demo: its scores, how right its maps are, and the maps of one window of the pair of motifs."""
    bundle, store = Bundle.load(run / "bundle"), Store(data / "demo.h5")
    column = find_target(bundle.targets, PAIR_TARGET)
    samples = judged_samples(store, "test")
    positive = samples[store.labels(samples)[:, column] == 1]
    scores = score_samples(bundle, store, positive)[:, column]
    sample = int(positive[np.argsort(scores)[len(scores) // 2]])
    tokens = read_samples(store, np.array([sample]))[0]
    chrom, start = store.contig_names[store.views.contig[sample]], int(store.views.start[sample])
    with open(data / "raw" / "plants.tsv", encoding="utf-8", newline="") as file:
        sites = [
            row for row in csv.DictReader(file, delimiter="\t") if (row["chrom"], row["target"]) == (chrom, PAIR_TARGET)
        ]
    placed = [(int(row["start"]) - start, int(row["end"]) - start, row["motif"]) for row in sites]
    references = {"integrated-gradients": {"reference": "shuffled"}}
    maps = {
        method: attribute(bundle, tokens, column, method=method, **references.get(method, {})).scores[0].tolist()
        for method in MAPS
    }
    judged = read_json(run / "benchmark" / "benchmark.json")
    return keep_run(run) | {
        "benchmark": {key: each for key, each in judged.items() if key not in ("data", "model")},
        "window": {
            "chrom": chrom,
            "start": start,
            "target": PAIR_TARGET,
            "probability": float(np.sort(scores)[len(scores) // 2]),
            "sequence": store.alphabet.decode(tokens[0]),
            "sites": [site for site in placed if site[0] >= 0 and site[1] <= tokens.shape[1]],
            "maps": maps,
        },
    }


def keep_documented(run: Path) -> dict[str, Any]:
    """The tables of a page of docs/ that scripts of benchmarks/ measured, by section."""
    sections: dict[str, list[list[list[str]]]] = {}
    title, goes_on = "", False
    for line in run.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = re.sub(r"[`#]", "", line).strip()
        is_row = line.startswith("|")
        if is_row and not goes_on:
            sections.setdefault(title, []).append([])
        if is_row and set(line) - set("|-: "):
            sections[title][-1].append([re.sub(r"[*`]", "", cell).strip() for cell in line.strip("|").split("|")])
        goes_on = is_row
    return {"page": run.as_posix(), "tables": sections}


KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "run": keep_run,
    "language": keep_language,
    "compare": keep_comparison,
    "printed": keep_printed,
    "demo": keep_demo,
    "documented": keep_documented,
}


def training(provenance: dict[str, Any]) -> dict[str, Any]:
    """How a model was trained; of an ensemble, its members."""
    if "members" in provenance:
        return {"ensemble": provenance["ensemble"], "members": [training(each) for each in provenance["members"]]}
    kept = {key: provenance[key] for key in TRAINING if key in provenance}
    kept |= {key: value for key, value in provenance.items() if key.startswith("valid_")}
    learning_rate = provenance["recipe"]["learning_rate"]
    return kept | {"learning_rate": learning_rate, "command": portable(provenance["command"])}


def settings(path: Path) -> dict[str, Any]:
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: read[key] for key in ("seed", "data", "model", "recipe") if key in read}


def data(metrics: dict[str, Any]) -> dict[str, Any]:
    about = metrics["provenance"]["data"]
    kept = {
        key: about[key] for key in ("source", "sha256", "window", "bin", "genome", "peaks", "split") if key in about
    }
    sizes = [each.get("settings", {}).get("train_samples") for each in metrics["baselines"].values()]
    return kept | {"train_samples": next((size for size in sizes if size), None)}


def strata(scorers: dict[str, Any]) -> dict[str, Any]:
    """By kind and stratum, the samples and each scorer's accuracy."""
    kept: dict[str, Any] = {}
    for scorer, found in scorers.items():
        for kind, rows in found["strata"].items():
            for row in rows:
                here = kept.setdefault(kind, {}).setdefault(row["stratum"], {"samples": row["samples"], "accuracy": {}})
                here["accuracy"][scorer] = row["accuracy"]
    return kept


def per_target(row: dict[str, str]) -> dict[str, Any]:
    columns = [
        column for column in row if column.startswith("average_precision") and not column.endswith(("low", "high"))
    ]
    kept = {column.partition(":")[2] or "model": number(row[column]) for column in columns}
    own = {"positives": int(row["positives"]), "train_positives": int(row["train_positives"])}
    return {"name": row["name"], **own, "average_precision": kept}


def parameters(folder: Path) -> int:
    """Trained numbers of a saved model."""
    return sum(parameter.numel() for parameter in load_trained(folder).parameters())


def curves(logs: Path) -> dict[str, Any]:
    """What the run logged, as [step, seconds since its first point, value]."""
    found = EventAccumulator(str(logs), size_guidance={"scalars": 0}).Reload()
    points = {tag: found.Scalars(tag) for tag in CURVES if tag in found.Tags()["scalars"]}
    begin = min(each[0].wall_time for each in points.values())
    return {tag: [[p.step, round(p.wall_time - begin, 1), p.value] for p in each] for tag, each in points.items()}


def portable(command: str) -> str:
    """A command without the folders of the machine it ran on."""
    words = [word.rpartition("/")[2] if word.startswith("/") else word for word in shlex.split(command)]
    if words[0] == "__main__.py":
        words[0] = "seqclass"
    elif words[0].endswith(".py"):
        words[:1] = ["python", f"experiments/{words[0].rpartition('/')[2]}"]
    return shlex.join(words)


def number(cell: str) -> float | str | None:
    """The number that a cell holds, or its text; None of an empty one."""
    try:
        return float(cell)
    except ValueError:
        return cell or None


def rounded(value: Any) -> Any:
    """The same with numbers of eight significant digits."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    main()
