"""Explaining a bundle's predictions on a FASTA file: a table of saliency, its parts, and a picture a sequence."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqclass.atomic import atomic_folder, check_free, file_stem
from seqclass.attribution.attribute import IncompleteError, ask, attribute
from seqclass.attribution.methods import METHODS
from seqclass.attribution.plot_mutagenesis import plot_mutagenesis
from seqclass.attribution.plots import plot_saliency
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError
from seqclass.predict import LengthPolicy, Tell, evaluating, letter_reader, probabilities, read_stretches
from seqclass.progress import track
from seqclass.targets import find_target

_TABLE, _ARRAYS, _DETAILS = "saliency.tsv", "saliency.npz", "explanation.json"


def explain(
    bundle: Bundle,
    fasta: str | Path,
    out: str | Path,
    *,
    target: str,
    length_policy: LengthPolicy = "error",
    max_plots: int = 20,
    force: bool = False,
    method: str = "grad-cam",
    tell: Tell = warnings.warn,
    **options: Any,
) -> list[Path]:
    """Writes where in each sequence a target's evidence lies.

    Into the folder go `saliency.tsv` (id, 0-based position, letter, saliency); `saliency.npz`, which holds for each
    stretch an array `(length, letters)` of what each letter contributes, or `(length,)` of methods that know only
    residues; `explanation.json` with method, target, options, and for each stretch its key in the arrays and, for
    methods that share out a difference, by how much they miss it; and `NAME.png` of each stretch.

    Args:
        bundle: The model.
        fasta: Sequences, plain or gzip.
        out: Folder to write.
        target: Name of the target, or a case-insensitive prefix that is unique.
        length_policy: What becomes of sequences that a model of a fixed length cannot take; see `seqclass.predict.cut`.
        max_plots: The first so many stretches get a picture; the table holds all.
        force: Replace the explanation that stands at `out`.
        method: One of `METHODS`.
        tell: Is given sentences at the end on letters that were read as others, such as U as X. Default: a warning.
        options: Further options of `attribute`: layer, reference, num_references, steps, window, correct_gradient,
            seed.

    Returns:
        The files, the table first.

    Raises:
        UnknownNameError: There is no such target, method, layer, reference or length policy.
        AssemblyError: The method cannot be applied to this model, or its result is beyond tolerance.
        SequenceError: As in `seqclass.predict.predict`; nothing is written then.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is no explanation or holds an input, or the disk is full.
    """
    check_free(out, force, holding=_TABLE, inputs=(fasta, bundle.path))
    index = find_target(bundle.targets, target)
    method = ask(bundle, index, method=method, **options).name
    unit = bundle.alphabet.unit
    label = method if METHODS[method].faithful else f"{method}\n(not model-faithful)"
    pictures: list[Path] = []
    told: list[dict[str, Any]] = []
    used: set[str] = set()
    with (
        atomic_folder(out, force=force, holding=_TABLE) as folder,
        open(folder / _TABLE, "w", encoding="utf-8") as table,
        zipfile.ZipFile(folder / _ARRAYS, "w", zipfile.ZIP_DEFLATED) as arrays,
        evaluating(bundle.model) as device,
    ):
        table.write("id\tposition\tletter\tsaliency\n")
        reader = letter_reader(bundle)
        stretches = read_stretches(bundle, fasta, length_policy, reader)
        for name, start, tokens, _ in track(stretches, "Explaining", unit="sequences"):
            try:
                found = attribute(bundle, [tokens], index, method=method, **options)
            except IncompleteError as error:
                raise AssemblyError(
                    error.problem, remedy=error.remedy, file=fasta, record=f"record '{name}'"
                ) from error
            (saliency,) = found.scores
            letters = bundle.alphabet.decode(tokens)
            table.writelines(
                f"{name}\t{start + place}\t{letter}\t{value:.6g}\n"
                for place, (letter, value) in enumerate(zip(letters, saliency.tolist(), strict=True))
            )
            key = file_stem(name, used)
            with arrays.open(f"{key}.npy", "w") as stream:
                parts = saliency if found.contributions is None else found.contributions[0]
                np.lib.format.write_array(stream, np.ascontiguousarray(parts))
            stretch = {"id": name, "start": start, "end": start + len(tokens), "key": key}
            told.append(stretch if found.delta is None else stretch | {"delta": float(found.delta[0])})
            if len(pictures) >= max_plots:
                continue
            with torch.inference_mode():
                score = float(probabilities(bundle, torch.tensor(tokens[None], device=device))[0, index])
            title = f"{name}: {bundle.targets[index].name}, predicted probability {score:.3f}"
            picture = folder / f"{key}.png"
            if method == "mutagenesis" and found.contributions is not None:
                plot_mutagenesis(picture, tokens, found.contributions[0], bundle.alphabet, title=title, start=start)
            else:
                plot_saliency(picture, letters, {label: saliency}, title=title, start=start, unit=unit)
            pictures.append(Path(out) / f"{key}.png")
        details = {
            "method": method,
            "says": METHODS[method].says,
            "faithful": METHODS[method].faithful,
            "target": bundle.targets[index].name,
            "options": {name: value for name, value in options.items() if value is not None},
            "stretches": told,
        }
        (folder / _DETAILS).write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    for note in reader.notes():
        tell(note)
    return [*(Path(out) / name for name in (_TABLE, _ARRAYS, _DETAILS)), *pictures]
