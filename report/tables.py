"""The tables of measured scores, made from experiments/results/, for experiments/README.md and for the paper.

python report/tables.py            # fills the tables of experiments/README.md in
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqclass.atomic import atomic_file
from seqclass.errors import SeqclassError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
README = ROOT / "experiments" / "README.md"

SCORERS = {
    "model": "model",
    "phmmer": "phmmer",
    "kmer_logistic": "k-mer logistic regression",
    "terminal_composition": "terminal composition",
    "nearest_neighbour": "nearest neighbour by k-mers",
    "shared_count": 'shared count: one "how many bind here" score for all',
    "composition": "composition",
    "prevalence": "prevalence",
}
ABLATION = {
    "bidirectional": "Transformer-XL, both sides; skip; one-hot",
    "causal": "Transformer-XL, causal",
    "bilstm": "BiLSTM",
    "none": "no encoder",
    "noskip": "no skip connection",
    "learned": "learned embedding",
}
Results = dict[str, Any]


class Table(NamedTuple):
    header: list[str]
    rows: list[list[str]]


def results() -> Results:
    """All result files by name; no score is known from anywhere else."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def score(value: float, digits: int = 3) -> str:
    """A share as it is printed here: .915, 1.000."""
    # Adding zero takes the sign off a rounded zero.
    told = f"{round(value, digits) + 0.0:.{digits}f}"
    return told.replace("0.", ".", 1) if abs(value) < 1 else told


def signed(value: float, digits: int = 3) -> str:
    return ("+" if value >= 0 else "") + score(value, digits)


def interval(pair: Sequence[float], digits: int = 3) -> str:
    return f"{score(pair[0], digits)}-{score(pair[1], digits)}"


def bold_best(cells: Sequence[str]) -> list[str]:
    """The cells, the largest of their first numbers in bold."""
    values = [float(found[0]) if (found := re.findall(r"\d*\.\d+", cell)) else -np.inf for cell in cells]
    return [f"**{cell}**" if value == max(values) else cell for cell, value in zip(cells, values, strict=True)]


def with_interval(scores: dict[str, Any], metric: str) -> str:
    """Of the scores of one scorer: its mean and interval."""
    return f"{score(scores[metric]['mean'])}, {interval(scores[metric]['interval'])}"


def accuracy(run: dict[str, Any], scorer: str = "model", metric: str = "accuracy", interval_too: bool = True) -> str:
    """Of the one group of classes of a run."""
    (scorers,) = run["test"]["accuracy"].values()
    if scorer not in scorers:
        return "not run"
    told = score(scorers[scorer][metric])
    return f"{told}, {interval(scorers[scorer]['intervals'][metric])}" if interval_too else told


def strata(run: dict[str, Any]) -> dict[str, Any]:
    (kinds,) = run["test"]["strata"].values()
    return kinds


def overview(found: Results) -> Table:
    """A row an experiment that was run."""
    rows: list[list[str]] = []

    def add(
        name: str, variant: str, metric: str, file: str, ours: str, baseline: str = "", published: str = ""
    ) -> None:
        run = found[file]
        told = [f"`{name}`{variant}", metric, ours, baseline, published]
        took = f"{run['training_seconds'] / 60:.0f} min"
        rows.append([*told, str(run["seed"]), took, run["hardware"], f"`{run['command']}`"])

    def add_classes(name: str, variant: str, metric: str, file: str, best: str, published: str = "") -> None:
        baseline = f"{SCORERS[best]} {accuracy(found[file], best)}"
        add(name, variant, metric, file, accuracy(found[file]), baseline, published)

    scores, metric = found["yeast_chip_exo"]["test"]["scores"], "mean average precision"
    kmers = f"k-mers {with_interval(scores['kmer_logistic'], 'average_precision')}"
    add("yeast_chip_exo", "", metric, "yeast_chip_exo", with_interval(scores["model"], "average_precision"), kmers)
    best = found["yeast_ablation-bilstm-0"]["test"]["scores"]["model"]
    add("yeast_ablation", ", BiLSTM", metric, "yeast_ablation-bilstm-0", with_interval(best, "average_precision"))
    for split, name in (("random", "random split"), ("group", "families held out"), ("cluster", "clusters held out")):
        file = f"beta_lactamase_protcnn-{split}"
        add_classes("beta_lactamase_protcnn", f", {name}", "accuracy", file, "phmmer")
    error, q10 = found["published"]["pfam_protcnn"]["error_rate"], found["published"]["deeploc"]["q10"]
    theirs = {split: f"ProtCNN {score(1 - error[split]['ProtCNN'])}, all families" for split in ("random", "clusters")}
    seed = "pfam_protcnn-random-1"
    add_classes("pfam_protcnn", ", random split", "accuracy", seed, "phmmer", theirs["random"])
    clusters = "pfam_protcnn-clusters"
    add_classes("pfam_protcnn", ", clusters", "accuracy", clusters, "kmer_logistic", theirs["clusters"])
    published = f"DeepLoc 1.0 {score(q10['DeepLoc'])}"
    add_classes("deeploc", "", "Q10", "deeploc-both-ends-6", "terminal_composition", published)
    test = found["dna_language_model"]["scores"]["test"]
    told = {name: bits(each) for name, each in test["bits_per_letter"].items()}
    markov = f"Markov, order {test['best_markov']['order']}: {told['best_markov']}"
    add("dna_language_model", "", "bits a base (less is better)", "dna_language_model", told["model"], markov)
    header = ["experiment", "metric on the test split", "measured, 95 %", "best baseline", "published", "seed", "time"]
    return Table([*header, "hardware", "command"], rows)


def overview_of_scores(found: Results) -> Table:
    """The same without hardware and command."""
    table = overview(found)
    return Table(table.header[:-2], [row[:-2] for row in table.rows])


def bits(scored: dict[str, Any]) -> str:
    """Bits a letter and their interval."""
    return f"{scored['mean']:.4f}, {scored['interval'][0]:.4f}-{scored['interval'][1]:.4f}"


def commands(found: Results) -> Table:
    return Table(["run", "command"], [[row[0], row[-1]] for row in overview(found).rows])


def yeast_chip_exo(found: Results) -> Table:
    scores = found["yeast_chip_exo"]["test"]["scores"]
    order = ["model", "kmer_logistic", "shared_count", "nearest_neighbour", "composition", "prevalence"]
    names = SCORERS | {"model": "WideResNet + Transformer-XL"}

    def cells(scorer: str) -> list[str]:
        each = scores[scorer]
        precision, auroc = each["average_precision"], each["auroc"]
        return [
            f"{with_interval(each, 'average_precision')}",
            f"{score(precision['median'])}, {score(precision['weighted_mean'])}",
            f"{with_interval(each, 'auroc')}",
            score(auroc["weighted_mean"]),
            score(each["auroc_labelled"]["mean"]),
        ]

    columns = zip(*(cells(scorer) for scorer in order), strict=True)
    bold = list(zip(*(bold_best(column) for column in columns), strict=True))
    header = ["scorer", "average precision: mean, 95 %", "median, weighted", "AUROC: mean, 95 %", "weighted"]
    return Table([*header, "within labelled bins"], [[names[s], *row] for s, row in zip(order, bold, strict=True)])


def yeast_by_positives(found: Results) -> Table:
    targets = [each for each in found["yeast_chip_exo"]["test"]["targets"] if each["positives"] >= 10]
    bounds = [(0, 200, "under 200"), (200, 400, "200-399"), (400, 1000, "400-999"), (1000, 10**9, "1,000 and more")]
    rows = []
    for low, high, name in bounds:
        here = [each["average_precision"] for each in targets if low <= each["train_positives"] < high]
        model, kmers = (np.array([each[scorer] for each in here]) for scorer in ("model", "kmer_logistic"))
        means = bold_best([score(model.mean()), score(kmers.mean())])
        rows.append([name, str(len(here)), *means, str((model > kmers).sum())])
    return Table(["positives in train", "targets", "model", "k-mers", "model ahead"], rows)


def ablation_figures(found: Results) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation over three seeds, by variant."""
    figures = {}
    for variant in ABLATION:
        runs = [found[f"yeast_ablation-{variant}-{seed}"] for seed in range(3)]
        scores = [run["test"]["scores"]["model"] for run in runs]
        columns = {
            "average_precision": [each["average_precision"]["mean"] for each in scores],
            "weighted": [each["average_precision"]["weighted_mean"] for each in scores],
            "auroc": [each["auroc"]["mean"] for each in scores],
            "labelled": [each["auroc_labelled"]["mean"] for each in scores],
        }
        figures[variant] = {key: {"mean": np.mean(v), "sd": np.std(v, ddof=1), "runs": v} for key, v in columns.items()}
        figures[variant] |= {"parameters": runs[0]["parameters"], "seconds": min(r["training_seconds"] for r in runs)}
    return figures


def yeast_ablation(found: Results) -> Table:
    figures = ablation_figures(found)
    keys = ("average_precision", "weighted", "auroc", "labelled")
    columns = [
        bold_best([f"{score(f[key]['mean'])} ± {score(f[key]['sd'])}" for f in figures.values()]) for key in keys
    ]
    rows = [
        [ABLATION[variant], f"{own['parameters']:,}", *(column[row] for column in columns), f"{own['seconds']:.0f} s"]
        for row, (variant, own) in enumerate(figures.items())
    ]
    header = ["variant", "parameters", "average precision: mean", "weighted", "AUROC: mean", "within labelled bins"]
    return Table([*header, "training"], rows)


def beta_lactamase_protcnn(found: Results) -> Table:
    runs = [found[f"beta_lactamase_protcnn-{split}"] for split in ("random", "group", "cluster")]
    sizes = [run["test"]["samples"] for run in runs]
    header = ["test accuracy, 95 % interval"]
    header += [f"{n} ({s})" for n, s in zip(("random", "families held out", "clusters held out"), sizes, strict=True)]
    rows = [
        [f"ProtCNN, {runs[0]['parameters']:,} parameters", *(accuracy(run) for run in runs)],
        ["... balanced accuracy", *(accuracy(run, metric="balanced_accuracy") for run in runs)],
    ]
    for scorer in ("phmmer", "kmer_logistic", "terminal_composition", "nearest_neighbour", "composition", "prevalence"):
        name = "majority" if scorer == "prevalence" else SCORERS[scorer]
        rows.append([name, *(accuracy(run, scorer, interval_too=False) for run in runs)])
    rows.append(["recall A, B, C, D, none", *(", ".join(map(whole, run["test"]["recall"].values())) for run in runs)])
    for kind, name in (
        ("yes", 'homologous hydrolases rightly "none"'),
        ("no", "other hydrolases, resistance proteins"),
    ):
        cells = []
        for run in runs:
            here = strata(run)["homologue"][kind]
            right = [round(here["samples"] * here["accuracy"][scorer]) for scorer in ("model", "phmmer")]
            cells.append(f"{right[0]} / {right[1]} of {here['samples']}")
        rows.append([f"{name}, ProtCNN / phmmer", *cells])
    cells = []
    for run in runs:
        here = strata(run)["identity"]["none"]
        told = " / ".join(score(here["accuracy"][scorer]) for scorer in ("model", "phmmer"))
        cells.append(f"{told} ({here['samples']})")
    rows.append(["no likeness to train, ProtCNN / phmmer", *cells])
    return Table(header, rows)


def whole(value: float) -> str:
    return "1" if value == 1 else score(value)


def pfam_protcnn(found: Results) -> Table:
    seeds = {seed: found[f"pfam_protcnn-random-{seed}"] for seed in range(3)}
    random, clusters, joined = seeds[1], found["pfam_protcnn-clusters"], found["pfam_protcnn-ensemble"]
    valid = {seed: score(run["valid_accuracy"]) for seed, run in seeds.items()}
    header = ["test accuracy, 95 % interval", f"random split ({random['test']['samples']:,})"]
    header += [f"clusters held out ({clusters['test']['samples']:,})"]
    others = ", ".join(accuracy(seeds[seed], interval_too=False) for seed in (0, 2))
    rows = [
        [f"ProtCNN, seed 1 (validation {valid[1]})", accuracy(random), f"{accuracy(clusters)} (seed 0)"],
        [f"... seeds 0 and 2 (validation {valid[0]}, {valid[2]})", others, ""],
        ["... mean over families, seed 1", *(accuracy(run, metric="balanced_accuracy") for run in (random, clusters))],
        ["three of them together", accuracy(joined), ""],
    ]
    baselines = ["phmmer", "kmer_logistic", "terminal_composition", "nearest_neighbour", "composition", "prevalence"]
    columns = [
        bold_best(
            [
                accuracy(run, "model", interval_too=False),
                *(accuracy(run, each, interval_too=False) for each in baselines),
            ]
        )
        for run in (random, clusters)
    ]
    for row, scorer in enumerate(baselines, start=1):
        name = "most frequent family" if scorer == "prevalence" else SCORERS[scorer]
        rows.append([name, columns[0][row], columns[1][row]])
    error = found["published"]["pfam_protcnn"]["error_rate"]
    told = [
        ", ".join(score(1 - error[split][name]) for name in ("ProtCNN", "ProtENN")) for split in ("random", "clusters")
    ]
    return Table(header, [*rows, ["ProtCNN, ProtENN on all 17,929 families (their paper)", *told]])


def pfam_strata(found: Results) -> Table:
    one, joined = strata(found["pfam_protcnn-random-1"]), strata(found["pfam_protcnn-ensemble"])
    told = {
        ("identity", "none"): "no likeness to train (phmmer aligns no 80 %)",
        ("identity", "up to 50 %"): "up to 50 % identical",
        ("identity", "above 50 %"): "more than 50 % identical",
        ("length", "0-63"): "under 64 residues",
        ("length", "64-127"): "64 to 127 residues",
        ("length", "128-255"): "128 to 255 residues",
        ("family_size", "10-29"): "families of 10 to 29 training domains",
        ("family_size", "100-299"): "families of 100 to 299 training domains",
    }
    rows = []
    for (kind, stratum), name in told.items():
        here, there = one[kind][stratum], joined[kind][stratum]["accuracy"]["model"]
        cells = bold_best([score(here["accuracy"]["model"]), score(there), score(here["accuracy"]["phmmer"])])
        rows.append([name, f"{here['samples']:,}", *cells])
    return Table(["random split", "test domains", "ProtCNN, seed 1", "three together", "phmmer"], rows)


def deeploc(found: Results) -> Table:
    best, both, head = (found[f"deeploc-{name}"] for name in ("both-ends-6", "both-ends-4", "head-4"))

    def row(name: str, run: dict[str, Any]) -> list[str]:
        at = run["kept_epoch"] - 1
        valid = run["curves"]["valid/accuracy"][at][2]
        return [
            f"{name} (validation {score(valid)})",
            accuracy(run),
            with_interval(run["test"]["scores"]["model"], "auroc"),
        ]

    rows = [
        row("both ends kept, 6 epochs", best),
        row("both ends kept, 4 epochs", both),
        row("head kept, 4 epochs", head),
    ]
    rows[0][1] = f"**{rows[0][1]}**"
    for scorer in ("terminal_composition", "kmer_logistic", "composition", "nearest_neighbour"):
        told = " / ".join(accuracy(run, scorer, interval_too=False) for run in (best, head))
        rows.append(
            [f"{SCORERS[scorer]}, both ends / head", told, score(best["test"]["scores"][scorer]["auroc"]["mean"])]
        )
    rows.append(["majority", accuracy(best, "prevalence", interval_too=False), ".500"])
    q10 = found["published"]["deeploc"]["q10"]
    rows.append(["DeepLoc 1.0, profiles and an attentive BiLSTM (its paper)", score(q10["DeepLoc"]), ""])
    return Table(["test split", "Q10", "mean AUROC of the locations and the membrane"], rows)


def dna_language_model(found: Results) -> Table:
    names = {
        "model": "language model",
        "markov_order_5": "Markov model of 6-mers (order 5)",
        "best_markov": "Markov model, order {order}, chosen on validation",
        "markov_order_0": "composition (order 0)",
    }
    scores = found["dna_language_model"]["scores"]
    rows = []
    for scorer, name in names.items():
        cells = [bits(scores[split]["bits_per_letter"][scorer]) for split in ("valid", "test")]
        best = scorer == min(names, key=lambda each: scores["test"]["bits_per_letter"][each]["mean"])
        rows.append(
            [name.format(**scores["test"]["best_markov"]), *(f"**{cell}**" if best else cell for cell in cells)]
        )
    return Table(["scorer", "VII (validation)", "IV (test)"], rows)


def language_model_start(found: Results) -> Table:
    pfam, yeast = found["language_model-pfam"], found["language_model-yeast"]
    rows = []
    for name, kept, metric, digits in (
        (f"400 Pfam families, accuracy ({pfam['samples']:,} domains)", pfam, "accuracy of family", 3),
        ("251 yeast factors, mean average precision (chromosome IV, 200 bp)", yeast, "mean average precision", 4),
    ):
        (told,) = (each for each in kept["comparisons"] if each["metric"] == metric)
        ours, theirs = told["figures"]
        cells = [score(theirs, digits), score(ours, digits)]
        low, high = (signed(bound, digits) for bound in told["interval"])
        sure = told["interval"][0] > 0 or told["interval"][1] < 0
        rows.append(
            [name, *(bold_best(cells) if sure else cells), f"{signed(told['difference'], digits)}, {low} to {high}"]
        )
    return Table(["", "from scratch", "from the language model", "difference, 95 %"], rows)


def yeast_saliency(found: Results, window: int) -> Table:
    rows = []
    for factor, method, bound, unbound, at_bound, at_unbound, matched, over, beside in found[
        f"yeast_saliency-{window}"
    ]["rows"]:
        sizes = [f"{each:.2f}" for each in (at_bound, at_unbound, matched)]
        shares = [each.replace("0.", ".") for each in (over, beside)]
        rows.append([factor, f"`{method}`", f"{bound:.0f}, {unbound:.0f}", *sizes, *shares])
    header = [
        "factor",
        "method",
        "bound, unbound hits",
        "bound",
        "unbound",
        "matched",
        "bound > unbound",
        "bound > matched",
    ]
    return Table(header, rows)


def yeast_variants(found: Results) -> Table:
    rows = []
    for window, name in ((400, "400 bp, 2 epochs"), (1000, "1,000 bp, 12 epochs, `--hits 3e-4`")):
        for _, control, pairs, *_, share in [
            row for row in found[f"yeast_variants-{window}"]["rows"] if row[0] == "all"
        ]:
            mean, low, high = (score(float(each), 2) for each in re.findall(r"[\d.]+", share))
            rows.append([name, control, f"{pairs:.0f}", f"{mean}, {low}-{high}"])
    header = ["model", "inside a bound hit against ...", "pairs", "share of pairs with the larger effect inside, 95 %"]
    return Table(header, rows)


def demo(found: Results) -> Table:
    """Simulated motifs: not in the README, whose scores are of real data."""
    scores = found["demo"]["test"]["scores"]
    names = SCORERS | {"true_motifs": "scan with the true motifs: the ceiling", "shared_count": "shared count"}
    order = ["true_motifs", "model", "kmer_logistic", "shared_count", "nearest_neighbour", "composition", "prevalence"]
    return Table(
        ["scorer", "mean average precision, 95 %", "mean AUROC, 95 %"],
        [[names[s], with_interval(scores[s], "average_precision"), with_interval(scores[s], "auroc")] for s in order],
    )


def attribution(found: Results) -> Table:
    rows = []
    for row in found["demo"]["benchmark"]["methods"]:
        cells = [score(row[key], 2) if row.get(key) is not None else "" for key in BENCHMARK]
        rows.append([f"`{row['method']}`" if row["method"] != "random order" else "a random order", *cells])
    return Table(["method", *BENCHMARK.values()], rows)


BENCHMARK = {
    "auroc": "AUROC of sites",
    "hit_rate": "top residue in a site",
    "auroc_random_weights": "AUROC, weights lost",
    "auroc_position_prior": "AUROC, position only",
    "deletion": "deletion",
    "insertion": "insertion",
    "randomised": "map with weights lost",
}

# Those of experiments/README.md, by the name between its markers.
TABLES: dict[str, Callable[[Results], Table]] = {
    "overview": overview,
    "yeast_chip_exo": yeast_chip_exo,
    "yeast_by_positives": yeast_by_positives,
    "yeast_ablation": yeast_ablation,
    "beta_lactamase_protcnn": beta_lactamase_protcnn,
    "pfam_protcnn": pfam_protcnn,
    "pfam_strata": pfam_strata,
    "deeploc": deeploc,
    "dna_language_model": dna_language_model,
    "language_model_start": language_model_start,
    "yeast_saliency_400": lambda found: yeast_saliency(found, 400),
    "yeast_saliency_1000": lambda found: yeast_saliency(found, 1000),
    "yeast_variants": yeast_variants,
}


def markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def filled(text: str, found: Results) -> str:
    """A page with its tables made anew: each stands between `<!-- table NAME -->` and `<!-- end -->`.

    Raises:
        SeqclassError: A marker names no table.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise SeqclassError(f"no table is named {name!r}", remedy=f"Take one of {', '.join(TABLES)}")
        return f"<!-- table {name} -->\n{markdown(TABLES[name](found))}\n<!-- end -->"

    return re.sub(r"<!-- table (\S+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    page = filled(README.read_text(encoding="utf-8"), results())
    with atomic_file(README, force=True) as partial:
        partial.write_text(page, encoding="utf-8")
