"""Cross-validation in one command: a model a fold, each judged on samples that it did not learn from.

The report is on the predictions of all folds together, each sample's by the one model that did not see it; beside it
stand the mean and the spread of the folds' own figures (Stone 1974, J. R. Stat. Soc. B 36, 111-147). The test split
has no part in any of this.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from seqclass.alphabets import DNA
from seqclass.atomic import write_text
from seqclass.bundle import Bundle
from seqclass.data.folds import VALID_SHARE, Folds, make_folds
from seqclass.data.store import Indices, Store
from seqclass.errors import TrainingError
from seqclass.evaluation.baselines import compute_baselines
from seqclass.evaluation.blocks import Blocks, blocks_of
from seqclass.evaluation.evaluate import sample_ids, versions
from seqclass.evaluation.judgement import RANKING, asks_yes_or_no
from seqclass.evaluation.multilabel import Baseline, Labels, Scores, measure
from seqclass.evaluation.report import show_report, write_report
from seqclass.evaluation.single_label import measure_classes
from seqclass.evaluation.strata import stratify
from seqclass.models import Classifier
from seqclass.predict import score_samples
from seqclass.terminal import say, show
from seqclass.training.fit import check_splits, fit_run
from seqclass.training.held_out import FILE, HeldOut, load_held_out, save_held_out
from seqclass.training.processes import is_first_process
from seqclass.training.several_runs import SaveOptions, one_of_several, several_runs

FOLDS_TABLE = "folds.tsv"

# Where a run is written and how it is told: a fold's scores do not follow from these.
_FREE = (
    *("config", "out", "force", "resume", "min_test_positives", "checkpoint_minutes"),
    *("logger", "figure_steps", "profile", "data.store"),
)

_TITLES = {"average_precision": "mean average precision", "auroc": "mean AUROC"}
_CLASS_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")


def cross_validate(
    build: Callable[..., Classifier], name: str, options: Namespace, save_options: SaveOptions
) -> dict[str, Any]:
    """Trains and judges a model for each fold of the samples outside the test split, and writes the run's folder.

    `fold_N/` is a fold's run with, in `held_out.h5`, what its model and baselines say of the fold; `folds.tsv` names
    each sample's fold; `report/` is as `evaluate` writes it. With `resume`, folds that are done are kept.

    Args:
        build: Builds a model.
        name: Of the run.
        options: As for `fit_run`, and `folds`, `by`, `clusters` and `level`, as for `make_folds`.
        save_options: Writes resolved options to a file.

    Returns:
        What `report/metrics.json` holds. `provenance.cross_validation.figures` has, by scorer and figure, "mean",
        "standard_deviation" and "folds".

    Raises:
        SourceError: The samples cannot be divided into such folds.
        SeqclassError: As for `fit_run`.
        SystemExit: As for `fit_run`.
    """
    store = Store(options.data.store)
    chosen = {"clusters": options.clusters, "level": options.level, "seed": options.seed}
    folds = make_folds(store, options.folds, options.by, **chosen)
    _check(folds)
    with several_runs(options, save_options) as goes_on:
        if is_first_process():
            _write_folds(Path(options.out) / FOLDS_TABLE, folds)
        found = []
        for number, divided in enumerate(folds):
            say(f"fold {number} ({number + 1} of {folds.number}): {len(folds.samples(number)):,} samples held out")
            fold = one_of_several(options, f"fold_{number}", resume=goes_on)
            found.append(_fold(build, name, fold, save_options, divided))
        if not is_first_process():
            return {}
        metrics = _report(folds, [each for each in found if each is not None], options, goes_on)
    show_report(metrics)
    show(spread_table(metrics["provenance"]["cross_validation"]["figures"]))
    say(f"report: {Path(options.out) / 'report'}")
    return metrics


def _check(folds: Folds) -> None:
    """Refuses, before the first fold is trained, folds that cannot be."""
    for number, divided in enumerate(folds):
        try:
            check_splits(divided)
        except TrainingError as error:
            raise TrainingError(
                f"fold {number}: {error.problem}",
                remedy="Choose fewer --folds, another --seed or another --by",
                file=error.file,
            ) from error


def _fold(
    build: Callable[..., Classifier], name: str, options: Namespace, save_options: SaveOptions, store: Store
) -> HeldOut | None:
    """Trains a fold's model and scores the fold, unless that was done; None in all processes but the first."""
    out = Path(options.out)
    terms = _terms(options, store)
    if options.resume and (done := load_held_out(out / FILE, terms)) is not None:
        say(f"{out} is done")
        return done
    fit_run(build, name, options, partial(save_options, options), store)
    if not is_first_process():
        return None
    samples = store.distinct(store.samples("test"))
    scores = score_samples(Bundle.load(out / "bundle"), store, samples)
    held_out = HeldOut(scores, compute_baselines(store, samples) if options.baselines else {})
    save_held_out(out / FILE, held_out, terms)
    return held_out


def _terms(options: Namespace, store: Store) -> str:
    """What the scores of a fold follow from, as text."""
    flat = {key: value for key, value in vars(options.as_flat()).items() if key not in _FREE}
    return json.dumps({"data": store.checksum(), **flat}, default=str, sort_keys=True)


def _write_folds(path: Path, folds: Folds) -> None:
    """A table of samples and their folds."""
    parts = [(fold, folds.samples(fold)) for fold in range(folds.number)]
    rows = [f"{name}\t{fold}\n" for fold, samples in parts for name in sample_ids(folds.store, samples)]
    write_text(path, "id\tfold\n" + "".join(rows), force=True)


def _report(folds: Folds, found: Sequence[HeldOut], options: Namespace, replaces: bool) -> dict[str, Any]:
    """Writes the report on all samples, in the store's order."""
    parts = [folds.samples(fold) for fold in range(folds.number)]
    order = np.argsort(np.concatenate(parts))
    samples = np.concatenate(parts)[order]

    def in_order(scores: Sequence[Scores]) -> Scores:
        together: Scores = np.concatenate(scores)[order]
        return together

    whole = folds.whole()
    store, labels, positives = folds.store, whole.known_labels(samples), whole.positives("train")
    model = in_order([each.model for each in found])
    baselines = {
        baseline: Baseline(
            in_order([each.baselines[baseline].scores for each in found]),
            {"folds": [dict(each.baselines[baseline].settings) for each in found]},
        )
        for baseline in found[0].baselines
    }
    scorers = {"model": model, **{name: each.scores for name, each in baselines.items()}}
    of = folds.of[samples]
    figures = {
        name: _spread(
            [
                _figures(labels[of == fold], scores[of == fold], store, positives, options.min_test_positives)
                for fold in range(folds.number)
            ]
        )
        for name, scores in scorers.items()
    }
    strata = {name: stratify(whole, samples, scores) for name, scores in scorers.items()}
    return write_report(
        Path(options.out) / "report",
        labels=labels,
        scores=model,
        targets=store.targets,
        train_positives=positives,
        provenance={
            "data": {"store": str(store.path), "sha256": store.checksum(), **store.provenance},
            "cross_validation": {
                "folds": folds.number,
                "by": folds.by,
                "seed": folds.seed,
                "samples": [len(part) for part in parts],
                "share_of_training_samples_that_choose_the_epoch": VALID_SHARE,
                "notes": list(folds.notes),
                "figures": figures,
            },
            "strands": "mean of the probabilities of both strands" if store.alphabet is DNA else "none",
            "versions": versions(),
            "command": shlex.join(sys.argv),
        },
        baselines=baselines,
        exclusive=store.layout.exclusive,
        ids=sample_ids(store, samples),
        blocks=_blocks(folds, samples),
        strata={group: {name: each[group] for name, each in strata.items()} for group in strata["model"]},
        min_positives=options.min_test_positives,
        force=replaces,
    )


def _blocks(folds: Folds, samples: Indices) -> Blocks:
    """Which samples are not independent: those of a cluster, where folds were made by clusters."""
    if folds.by != "cluster":
        return blocks_of(folds.store, samples)
    return Blocks(np.unique(folds.units[samples], return_inverse=True)[1].astype(np.int64), "clusters of sequences")


def _figures(
    labels: Labels, scores: Scores, store: Store, positives: Indices, min_positives: int
) -> dict[str, float | None]:
    """The figures of one scorer on one fold, by title; None where one is undefined."""
    found: dict[str, float | None] = {}
    if asks_yes_or_no(store.targets, store.layout.exclusive):
        means = measure(labels, scores, store.targets, positives, min_positives).summary()
        found |= {_TITLES[name]: means[name]["mean"] for name in RANKING}
    for group in store.layout.exclusive:
        classes = measure_classes(labels, scores, store.targets, group)
        found |= {f"{group}: {name.replace('_', ' ')}": classes[name] for name in _CLASS_FIGURES}
    return found


def _spread(folds: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    """By title, the mean of the folds' figures, their standard deviation (of the sample), and each."""
    found = {}
    for title in folds[0]:
        values = [fold[title] for fold in folds]
        known = [value for value in values if value is not None and not np.isnan(value)]
        found[title] = {
            "mean": float(np.mean(known)) if known else None,
            "standard_deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
            "folds": values,
        }
    return found


def spread_table(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Mean and standard deviation over folds as a table for the terminal, a line a scorer.

    Args:
        figures: By scorer and title.
    """
    table = Table(box=SIMPLE_HEAD, caption="mean and standard deviation over folds", caption_justify="left")
    table.add_column("", overflow="fold")
    for title in figures["model"]:
        table.add_column(escape(title), justify="right")
    for name, each in figures.items():
        table.add_row(escape(name.replace("_", " ")), *(_with_spread(figure) for figure in each.values()))
    return table


def _with_spread(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    spread = figure["standard_deviation"]
    return f"{figure['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")
