"""Explaining a bundle's predictions on a FASTA file: a table of saliency and a picture a sequence."""

from __future__ import annotations

from pathlib import Path

import torch

from seqclass.alphabets import DNA
from seqclass.atomic import atomic_folder, check_free
from seqclass.attribution.grad_cam import METHODS, grad_cam
from seqclass.attribution.plots import plot_saliency
from seqclass.bundle import Bundle
from seqclass.errors import find_name
from seqclass.predict import LengthPolicy, evaluating, probabilities, read_stretches
from seqclass.progress import track
from seqclass.targets import find_target

_TABLE = "saliency.tsv"


def explain(
    bundle: Bundle,
    fasta: str | Path,
    out: str | Path,
    *,
    target: str,
    method: str = "grad-cam",
    layer: str = "stem",
    length_policy: LengthPolicy = "error",
    max_plots: int = 20,
    force: bool = False,
) -> list[Path]:
    """Writes where in each sequence a target's evidence lies.

    Args:
        bundle: The model.
        fasta: Sequences, plain or gzip.
        out: Folder to write: `saliency.tsv` (id, 0-based position, letter, saliency), and `NAME.png` of each sequence.
        target: Name of the target, or a case-insensitive prefix that is unique.
        method: "grad-cam" or "hirescam".
        layer: The sequence block whose activations are used.
        length_policy: What becomes of sequences that a model of a fixed length cannot take; see `seqclass.predict.cut`.
        max_plots: The first so many stretches get a picture; the table holds all.
        force: Replace the explanation that stands at `out`.

    Returns:
        The files, the table first.

    Raises:
        UnknownNameError: There is no such target, method, layer or length policy.
        SequenceError: As in `seqclass.predict.predict`; nothing is written then.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands at `out` is no explanation or holds an input, or the disk is full.
    """
    check_free(out, force, holding=_TABLE, inputs=(fasta, bundle.path))
    index = find_target(bundle.targets, target)
    method = find_name("method", method, METHODS)
    layer = find_name("layer", layer, bundle.model.sequence_layers())
    unit = "bp" if bundle.alphabet is DNA else "residues"
    written = [Path(out) / _TABLE]
    used: set[str] = set()
    with (
        atomic_folder(out, force=force, holding=_TABLE) as folder,
        open(folder / _TABLE, "w", encoding="utf-8") as table,
        evaluating(bundle.model) as device,
    ):
        table.write("id\tposition\tletter\tsaliency\n")
        stretches = read_stretches(bundle, fasta, length_policy)
        for name, start, tokens in track(stretches, "Explaining", unit="sequences"):
            (saliency,) = grad_cam(bundle, tokens[None], index, method=method, layer=layer)
            letters = bundle.alphabet.decode(tokens)
            table.writelines(
                f"{name}\t{start + place}\t{letter}\t{value:.6g}\n"
                for place, (letter, value) in enumerate(zip(letters, saliency.tolist(), strict=True))
            )
            if len(written) > max_plots:
                continue
            with torch.inference_mode():
                score = float(probabilities(bundle, torch.from_numpy(tokens[None]).to(device))[0, index])
            file = _file_name(name, used)
            title = f"{name}: {bundle.targets[index].name}, predicted probability {score:.3f}"
            plot_saliency(folder / file, letters, {method: saliency}, title=title, start=start, unit=unit)
            written.append(Path(out) / file)
    return written


def _file_name(name: str, used: set[str]) -> str:
    """A file name made of a sequence's name, not yet in `used`, to which it is added."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:50].strip(".") or "_"
    number, candidate = 1, stem
    while candidate in used:
        number += 1
        candidate = f"{stem}_{number}"
    used.add(candidate)
    return f"{candidate}.png"
