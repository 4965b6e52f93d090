"""`seqclass explain`: where in each sequence a target's evidence lies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from seqclass.attribution.methods import METHODS, REFERENCES
from seqclass.cli.parsing import add_command, add_force, add_length_policy, keywords
from seqclass.terminal import note, say, show

_OF_FASTA = ("length_policy", "max_plots")
_OF_BENCHMARK = ("truth", "split", "windows")


def add_explain_command(commands: Any) -> None:
    """Adds `explain`."""
    explain = add_command(commands, "explain", "show where in each sequence a target's evidence lies", _explain)
    explain.formatter_class = argparse.RawDescriptionHelpFormatter
    explain.epilog = "methods:\n" + "\n".join(f"  {name:23} {method.says}" for name, method in METHODS.items())
    explain.add_argument("bundle", help="folder of the bundle")
    explain.add_argument("sequences", help="FASTA, plain or gzip; with --benchmark a store")
    explain.add_argument(
        "--target", help="its name, or the beginning of it; with --benchmark not needed (default: all that have sites)"
    )
    explain.add_argument(
        "--method",
        action="append",
        help="one of those below (default: grad-cam); with --benchmark more than one by repeating the option "
        "(default: all that can be applied)",
    )
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
        "--out",
        required=True,
        help="folder for saliency.tsv, saliency.npz, explanation.json and a picture a sequence; with --benchmark for "
        "benchmark.tsv, benchmark.json and benchmark.png",
    )
    explain.add_argument("--max-plots", type=int, default=20, help="pictures at most (default: %(default)s)")
    add_length_policy(explain)
    add_force(explain)
    benchmark = explain.add_argument_group("with --benchmark")
    benchmark.add_argument(
        "--benchmark", action="store_true", help="judge the methods by sites planted in the windows of a store"
    )
    benchmark.add_argument("--truth", help="table of the sites: chrom, start, end (0-based, half-open), target")
    benchmark.add_argument("--split", default="test", help="whose windows are looked at (default: %(default)s)")
    benchmark.add_argument(
        "--windows", type=int, default=20, help="windows of each target, at most (default: %(default)s)"
    )


def _explain(options: argparse.Namespace) -> None:
    _refuse_idle_options(options)
    arguments = keywords(options)
    if arguments.pop("benchmark"):
        _judge(**{name: value for name, value in arguments.items() if name not in _OF_FASTA})
    else:
        _show(**{name: value for name, value in arguments.items() if name not in _OF_BENCHMARK})


def _show(bundle: str, sequences: str, out: str, target: str, method: list[str] | None, **options: Any) -> None:
    from seqclass.attribution.explain import explain
    from seqclass.bundle import Bundle

    (name,) = method or ["grad-cam"]
    loaded = Bundle.load(bundle)
    if name == "mutagenesis":
        from seqclass.attribution.mutagenesis_trunk import kept_by_stage, kept_text

        say(kept_text(kept_by_stage(loaded.model)))
    files = explain(loaded, sequences, out, target=target, method=name, tell=note, **options)
    pictures = sum(file.suffix == ".png" for file in files)
    say(f"wrote {files[0]} and {pictures:,} pictures")


def _judge(bundle: str, sequences: str, truth: str, out: str, method: list[str] | None, **options: Any) -> None:
    from seqclass.attribution.benchmark import benchmark
    from seqclass.attribution.benchmark_report import TABLE, benchmark_table, verdicts
    from seqclass.bundle import Bundle
    from seqclass.data.store import Store

    found = benchmark(Bundle.load(bundle), Store(sequences), truth, out, methods=method or (), **options)
    show(benchmark_table(found))
    for verdict in verdicts(found):
        note(verdict)
    say(f"wrote {Path(out) / TABLE}")


def _refuse_idle_options(options: argparse.Namespace) -> None:
    """Refuses options that would do nothing, and asks for those without which nothing can be done."""
    idle = _OF_FASTA if options.benchmark else _OF_BENCHMARK
    given = [name for name in idle if getattr(options, name) != options.parser.get_default(name)]
    if given:
        side = "with" if options.benchmark else "without"
        options.parser.error(f"{side} --benchmark these do nothing: --{', --'.join(given).replace('_', '-')}")
    needed = "truth" if options.benchmark else "target"
    if getattr(options, needed) is None:
        options.parser.error(f"--{needed} is needed{' with --benchmark' if options.benchmark else ''}")
    if not options.benchmark and options.method and len(options.method) > 1:
        options.parser.error("several --method are for --benchmark; give one")
