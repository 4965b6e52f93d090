"""Are attributions right? Methods on data with planted sites, where it is known what a model should look at.

- Localisation: does the size of the map tell the planted sites from the rest (AUROC), and does its top position lie in
  one (hit rate)? Beside the same of a model with random weights, and of a prior that knows positions only.
- Faithfulness: deletion and insertion curves; agreement with mutagenesis.
- Sanity: the map has to change as the model's weights are lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from seqclass.atomic import check_free
from seqclass.attribution.attribute import TOLERANCE, ask, attribute, missed_share
from seqclass.attribution.benchmark_curves import SHARES, Curves, areas, curves
from seqclass.attribution.benchmark_plants import Case, planted_windows
from seqclass.attribution.benchmark_report import TABLE, write_benchmark
from seqclass.attribution.benchmark_weights import cascade, stages
from seqclass.attribution.localisation import localisation
from seqclass.attribution.methods import METHODS
from seqclass.attribution.references import generator_for
from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, SeqclassError, find_name
from seqclass.predict import check_fits
from seqclass.progress import Advance, progress
from seqclass.targets import find_target

Floats = NDArray[np.float32]
Maps = list[list[Floats]]
"""By case and window, `(length,)`."""

MUTAGENESIS, CHANCE = "mutagenesis", "random order"

MOST_LIKE = 0.5
"""The rank correlation with the model's own map that one of lost weights may have and still count as fallen."""

_FOLLOWED = 5
_OF_METHODS = {"layer": "at_layer", "reference": "reference", "correct_gradient": "of_gradients"}


def benchmark(
    bundle: Bundle,
    store: Store,
    truth: str | Path,
    out: str | Path,
    *,
    target: str | None = None,
    methods: Sequence[str] = (),
    split: str = "test",
    windows: int = 20,
    seed: int = 0,
    force: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Judges methods of attribution by planted sites, and writes what was found.

    Into the folder go `benchmark.tsv`, a row a method; `benchmark.json`, which also holds figures by target, the
    cascade and the curves; and `benchmark.png`. Figures are means over windows, then over targets.

    Args:
        bundle: The model.
        store: Its targets and window are those of the bundle.
        truth: Table of planted sites: chrom, start, end (0-based, half-open), target.
        out: Folder to write.
        target: Name of the only target to look at, or its beginning. Default: all that have planted sites.
        methods: Of `METHODS`. Default: all that can be applied to this model.
        split: Whose windows are looked at.
        windows: At most so many of each target.
        seed: Of the draw of windows, random weights, references and orders.
        force: Replace the benchmark that stands at `out`.
        options: Further options of `attribute`, which go to the methods that they belong to.

    Returns:
        What `benchmark.json` holds.

    Raises:
        StoreError: The store does not fit the bundle.
        UnknownNameError: There is no such target, method or split.
        SourceError: `truth` is no such table, or no window holds a site of its target.
        AssemblyError: The model reads vectors; or a method that was asked for cannot be applied to it.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: Fewer than two windows are asked for, of which no prior can be made.
    """
    check_free(out, force, holding=TABLE, inputs=(bundle.path, store.path, truth))
    check_fits(bundle, store)
    if bundle.model.input_kind != "tokens":
        raise AssemblyError("a model of vectors, in which no site is planted", remedy="Give a model of sequences")
    if windows < 2:
        raise SeqclassError(f"{windows} windows of each target", remedy="Take at least 2, better 20")
    targets = list(range(len(bundle.targets))) if target is None else [find_target(bundle.targets, target)]
    _check_options(bundle, targets[0], {**options, "seed": seed})
    names = list(dict.fromkeys(find_name("method", each, METHODS) for each in methods or METHODS))
    cases = planted_windows(store, truth, targets, split=split, most=windows, seed=seed)
    options = {**options, "seed": seed}
    own: dict[str, Maps] = {}
    refused: dict[str, float | None] = {}
    left_out: dict[str, str] = {}
    lost = list(stages(bundle.model))
    alike: dict[str, dict[str, float]] = {}
    random: dict[str, Maps] = {}
    with progress("Benchmarking", len(names) * len(cases) * (1 + len(lost)), "maps") as advance:
        for name in names:
            try:
                own[name], refused[name] = _explain(bundle, cases, name, options, advance)
            except AssemblyError as error:
                if methods:
                    raise
                left_out[name] = error.problem
        for stage, model in cascade(bundle.model, seed):
            followed = cases if stage == lost[-1] else [case.first(_FOLLOWED) for case in cases]
            for name, maps in own.items():
                random[name], _ = _explain(replace(bundle, model=model), followed, name, options, advance)
                alike.setdefault(name, {})[stage] = _agreement(maps, random[name])
    rows, drawn = [], {}
    for name, maps in {**own, CHANCE: _chance(cases, seed)}.items():
        drawn[name] = [curves(bundle, case, each, seed=seed) for case, each in zip(cases, maps, strict=True)]
        row = _row(name, cases, maps, random.get(name), own.get(MUTAGENESIS), drawn[name], alike.get(name))
        rows.append(row | {"refused": refused.get(name)})
    found = {
        "methods": rows,
        "left_out": left_out,
        "per_target": _per_target(bundle, cases, own),
        "randomisation": alike,
        "shares": list(SHARES),
        "curves": {name: _mean_curves(each) for name, each in drawn.items()},
        "windows": {bundle.targets[case.target].name: len(case.tokens) for case in cases},
        "split": split,
        "options": {name: value for name, value in options.items() if value is not None},
        "most_like": MOST_LIKE,
        "data": {"store": str(store.path), "sha256": store.checksum(), "truth": str(truth)},
        "model": bundle.provenance,
    }
    write_benchmark(out, found, force=force)
    return found


def _check_options(bundle: Bundle, target: int, options: Mapping[str, Any]) -> None:
    """Raises what a wrong option would raise, before much has been computed."""
    for method, own in (("hirescam", "layer"), ("occlusion", "reference")):
        fitting = {name: value for name, value in options.items() if name == own or name not in _OF_METHODS}
        ask(bundle, target, method=method, **fitting)


def _explain(
    bundle: Bundle, cases: Sequence[Case], name: str, options: Mapping[str, Any], advance: Advance
) -> tuple[Maps, float | None]:
    """The maps of a method; and of one that shares out a difference, which share of them `attribute` would refuse."""
    maps: Maps = []
    missed: list[Floats] = []
    fitting = {
        key: value
        for key, value in options.items()
        if key not in _OF_METHODS or getattr(METHODS[name], _OF_METHODS[key])
    }
    for case in cases:
        found = attribute(bundle, case.tokens, case.target, method=name, tolerance=math.inf, **fitting)
        maps.append(found.scores)
        if found.delta is not None:
            totals = np.array([each.sum() for each in found.scores], dtype=np.float32)
            missed.append(missed_share(found.delta, totals - found.delta))
        advance(1)
    return maps, float((~(np.concatenate(missed) <= TOLERANCE)).mean()) if missed else None


def _chance(cases: Sequence[Case], seed: int) -> Maps:
    return [[generator_for(each, seed).random(len(each), np.float32) for each in case.tokens] for case in cases]


def _row(
    name: str,
    cases: Sequence[Case],
    maps: Maps,
    random: Maps | None,
    mutated: Maps | None,
    drawn: Sequence[Curves],
    alike: Mapping[str, float] | None,
) -> dict[str, Any]:
    """What is told of a method; None where it does not apply."""
    deletion, insertion = areas(drawn)
    left = None if alike is None else list(alike.values())[-1]
    row: dict[str, Any] = {"method": name, "faithful": name == CHANCE or METHODS[name].faithful}
    for of, each in (("", maps), ("_random_weights", random), ("_position_prior", _priors(maps))):
        found = None if each is None else np.mean(_localise(cases, each), axis=0)
        for number, figure in enumerate(("auroc", "hit_rate")):
            row[figure + of] = None if found is None else float(found[number])
    return row | {
        "deletion": deletion,
        "insertion": insertion,
        "agreement": None if mutated is None else _agreement(maps, mutated),
        "randomised": left,
        "falls": None if left is None else abs(left) <= MOST_LIKE,
    }


def _localise(cases: Sequence[Case], maps: Maps) -> list[NDArray[np.float64]]:
    """AUROC and hit rate of each target."""
    return [
        np.mean([localisation(each, where) for each, where in zip(found, case.where, strict=True)], axis=0)
        for case, found in zip(cases, maps, strict=True)
    ]


def _priors(maps: Maps) -> Maps:
    """In place of each map the mean size of the other windows' of the same target, which knows positions only."""
    priors: Maps = []
    for found in maps:
        sizes = np.zeros((len(found), max(map(len, found))), dtype=np.float32)
        for row, each in zip(sizes, found, strict=True):
            row[: len(each)] = np.abs(each)
        reach = np.array([[len(each)] for each in found]) > np.arange(sizes.shape[1])
        others = (sizes.sum(axis=0) - sizes) / np.maximum(reach.sum(axis=0) - reach, 1)
        priors.append([row[: len(each)] for row, each in zip(others, found, strict=True)])
    return priors


def _agreement(ours: Maps, theirs: Maps) -> float:
    """Spearman's rank correlation of the sizes of maps, as far as both have windows; a flat map agrees with none."""
    found = []
    for pair in zip(ours, theirs, strict=True):
        ranks = [(rankdata(np.abs(one)), rankdata(np.abs(other))) for one, other in zip(*pair, strict=False)]
        found.append(np.mean([0.0 if min(np.ptp(a), np.ptp(b)) == 0 else np.corrcoef(a, b)[0, 1] for a, b in ranks]))
    return float(np.mean(found))


def _per_target(bundle: Bundle, cases: Sequence[Case], own: Mapping[str, Maps]) -> dict[str, Any]:
    names = [bundle.targets[case.target].name for case in cases]
    return {
        method: {
            name: {"auroc": float(auroc), "hit_rate": float(rate)}
            for name, (auroc, rate) in zip(names, _localise(cases, maps), strict=True)
        }
        for method, maps in own.items()
    }


def _mean_curves(drawn: Sequence[Curves]) -> dict[str, list[float]]:
    return {
        name: np.mean(each, axis=0).tolist()
        for name, each in zip(Curves._fields, zip(*drawn, strict=True), strict=True)
    }
