"""`seqclass explain`: where in each sequence a target's evidence lies."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.attribution.methods import METHODS, REFERENCES
from seqclass.cli.parsing import add_command, add_force, add_length_policy, keywords
from seqclass.terminal import say


def add_explain_command(commands: Any) -> None:
    """Adds `explain`."""
    explain = add_command(commands, "explain", "show where in each sequence a target's evidence lies", _explain)
    explain.formatter_class = argparse.RawDescriptionHelpFormatter
    explain.epilog = "methods:\n" + "\n".join(f"  {name:23} {method.says}" for name, method in METHODS.items())
    explain.add_argument("bundle", help="folder of the bundle")
    explain.add_argument("fasta", help="sequences, plain or gzip")
    explain.add_argument("--target", required=True, help="its name, or the beginning of it")
    explain.add_argument("--method", default="grad-cam", help="one of those below (default: %(default)s)")
    explain.add_argument(
        "--layer",
        help="what Grad-CAM and its like look at: embedding, stem, encoder, or a part of these such as stem.1 or "
        "encoder.3 (default: the last convolutional stage)",
    )
    explain.add_argument(
        "--reference",
        help="what a sequence is compared with: "
        + "; ".join(f"{name} ({says})" for name, says in REFERENCES.items())
        + " (default: the method's)",
    )
    explain.add_argument(
        "--num-references", type=int, default=10, help="shuffled references a sequence (default: %(default)s)"
    )
    explain.add_argument(
        "--steps",
        type=int,
        default=64,
        help="points on the way from a reference, or noisy copies (default: %(default)s)",
    )
    explain.add_argument("--window", type=int, default=5, help="residues that occlusion hides (default: %(default)s)")
    explain.add_argument(
        "--correct-gradient", action="store_true", help="take out of gradients what all letters of a position share"
    )
    explain.add_argument("--seed", type=int, default=0, help="of what is random (default: %(default)s)")
    explain.add_argument(
        "--out", required=True, help="folder for saliency.tsv, saliency.npz, explanation.json and a picture a sequence"
    )
    explain.add_argument("--max-plots", type=int, default=20, help="pictures at most (default: %(default)s)")
    add_length_policy(explain)
    add_force(explain)


def _explain(options: argparse.Namespace) -> None:
    from seqclass.attribution.explain import explain
    from seqclass.bundle import Bundle

    arguments = keywords(options)
    bundle = Bundle.load(arguments.pop("bundle"))
    files = explain(bundle, arguments.pop("fasta"), arguments.pop("out"), **arguments)
    pictures = sum(file.suffix == ".png" for file in files)
    say(f"wrote {files[0]} and {pictures:,} pictures")
