"""An ensemble trained in one command: members that differ in their seed, joined and calibrated as one bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.drift import summarise
from seqclass.ensemble import join_bundles
from seqclass.errors import TrainingError
from seqclass.evaluation.evaluate import evaluate, judged_samples
from seqclass.evaluation.headline import with_report
from seqclass.evaluation.report import show_report
from seqclass.models import Classifier
from seqclass.predict import score_samples
from seqclass.terminal import say
from seqclass.training.fit import calibrate_if_possible, fit_run
from seqclass.training.processes import is_first_process
from seqclass.training.several_runs import SaveOptions, one_of_several, several_runs

MEMBERS = "members"


def fit_ensemble(
    build: Callable[..., Classifier], name: str, options: Namespace, save_options: SaveOptions
) -> dict[str, Any]:
    """Trains the members one after the other, and writes the ensemble's folder.

    A member's seed is that of the run and its number more; all else is the same. `members/seed_N/` is a member's run,
    `bundle/` the mean of their probabilities, calibrated on validation, and `report/` holds the ensemble against each
    member on the test split. With `resume`, trained members are kept, and the number of members may grow.

    Args:
        build: Builds a model.
        name: Of the run.
        options: As for `fit_run`, and `ensemble`, the number of members.
        save_options: Writes resolved options to a file.

    Returns:
        What `report/metrics.json` holds; empty if nothing was evaluated.

    Raises:
        TrainingError: There are fewer than two members.
        SeqclassError: As for `fit_run`.
        SystemExit: As for `fit_run`.
    """
    if options.ensemble < 2:
        raise TrainingError(f"an ensemble of {options.ensemble}", remedy="Give --ensemble 2 or more, or leave it out")
    out = Path(options.out)
    with several_runs(options, save_options) as goes_on:
        folders = {}
        for number in range(options.ensemble):
            seed = options.seed + number
            folder = f"{MEMBERS}/seed_{seed}"
            member = one_of_several(options, folder, seed=seed, ensemble=None, evaluate=False, resume=goes_on)
            say(f"member {number + 1} of {options.ensemble}, seed {seed}")
            fit_run(build, name, member, partial(save_options, member))
            folders[f"seed_{seed}"] = out / folder / "bundle"
        if not is_first_process():
            return {}
        members = {seed: Bundle.load(folder) for seed, folder in folders.items()}
        store = Store(options.data.store)
        joint = summarise(calibrate_if_possible(join_bundles(list(members.values())), store), store)
        joint.save(out / "bundle", force=goes_on)
        if not options.evaluate or not len(store.samples("test")):
            say(f"bundle: {out / 'bundle'}; not evaluated on a test split")
            return {}
        samples = judged_samples(store, "test")
        metrics = evaluate(
            joint,
            store,
            out / "report",
            baselines=options.baselines,
            others={seed: score_samples(member, store, samples) for seed, member in members.items()},
            min_positives=options.min_test_positives,
            force=goes_on,
        )
        with_report(joint, metrics).save(out / "bundle", force=True)
        show_report(metrics)
        say(f"bundle: {out / 'bundle'}   report: {out / 'report'}")
        return metrics
