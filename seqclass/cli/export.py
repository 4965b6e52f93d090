"""`seqclass export`: a bundle for other runtimes, and smaller, with what that costs."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqclass.cli.parsing import add_command, add_force
from seqclass.terminal import say, show

if TYPE_CHECKING:
    from seqclass.bundle import Bundle
    from seqclass.data.store import Store


def add_export_command(commands: Any) -> None:
    """Adds `export`."""
    export = add_command(commands, "export", "write a bundle for other runtimes, or a smaller one", _export)
    export.add_argument("bundle", help="folder of the bundle")
    export.add_argument("--to", choices=("onnx", "torch-export"), help="format of the file")
    export.add_argument("--out", required=True, help="file to write (.onnx or .pt2); with --prune, folder of a bundle")
    export.add_argument(
        "--length", type=int, help="sequences of this length only, in residues (default: those that the model takes)"
    )
    smaller = export.add_mutually_exclusive_group()
    smaller.add_argument("--half", action="store_true", help="ONNX in half precision")
    smaller.add_argument("--quantize", choices=("int8",), help="ONNX in 8-bit integers")
    smaller.add_argument("--prune", choices=("magnitude",), help="set the smallest weights of each layer to zero")
    export.add_argument("--amount", type=float, help="with --prune, share of the weights (default: .3)")
    export.add_argument(
        "--store", help="store on which a smaller model is measured; its training samples calibrate int8"
    )
    export.add_argument("--split", default="test", help="split that is measured (default: %(default)s)")
    add_force(export)


def _export(options: argparse.Namespace) -> None:
    parser, shrinks = options.parser, options.half or options.quantize or options.prune
    if shrinks and options.store is None:
        parser.error("a smaller model is measured on data: --store STORE")
    if options.amount is not None and not options.prune:
        parser.error("--amount goes with --prune magnitude")
    if options.prune and (options.to or options.length):
        parser.error("--prune writes a bundle; export that in a second step, without --to and --length in this one")
    if not options.prune and options.to is None:
        parser.error("which format? --to onnx or --to torch-export")
    if (options.half or options.quantize) and options.to != "onnx":
        parser.error("--half and --quantize are made of ONNX: --to onnx")
    from seqclass.bundle import Bundle

    bundle = Bundle.load(options.bundle)
    if not shrinks:
        _export_whole(bundle, options)
        return
    from seqclass.data.store import Store
    from seqclass.export.trade_off import measure_models, samples_of, table, verdict

    store = Store(options.store)
    samples = samples_of(bundle, store, options.split)
    with tempfile.TemporaryDirectory() as folder:
        models = _prune(bundle, store, options) if options.prune else _compress(bundle, store, Path(folder), options)
        measured = measure_models(models, store, samples)
    show(table(measured, f"{len(samples):,} samples of {options.split}, {store.path}"))
    say(f"wrote {options.out}")
    say(verdict(measured))


def _export_whole(bundle: Bundle, options: argparse.Namespace) -> None:
    if options.to == "onnx":
        from seqclass.export.onnx_export import export_onnx as export
    else:
        from seqclass.export.torch_export import export_torch as export
    apart = export(bundle, options.out, length=options.length, force=options.force)
    say(f"wrote {options.out}: probabilities at three shapes are the bundle's, {apart:.0e} apart at most")


def _compress(bundle: Bundle, store: Store, folder: Path, options: argparse.Namespace) -> list[tuple[str, Bundle]]:
    from seqclass.export.compress import write_half, write_int8
    from seqclass.export.onnx_export import check_onnx_file, export_onnx
    from seqclass.onnx_file import load_onnx

    check_onnx_file(options.out, options.force, bundle.path, store.path)
    plain = folder / "plain.onnx"
    export_onnx(bundle, plain, length=options.length)
    if options.half:
        name, smaller = "ONNX, half precision", write_half(plain, options.out, force=options.force)
    else:
        name, smaller = "ONNX, int8", write_int8(plain, store, options.out, force=options.force)
    return [("bundle", bundle), ("ONNX", load_onnx(plain)), (name, smaller)]


def _prune(bundle: Bundle, store: Store, options: argparse.Namespace) -> list[tuple[str, Bundle]]:
    from seqclass.atomic import check_free
    from seqclass.bundle import Bundle
    from seqclass.drift import summarise, was_trained_on
    from seqclass.export.prune import AMOUNT, prune_magnitude, zero_share
    from seqclass.saved import MARKER

    check_free(options.out, options.force, holding=MARKER, inputs=(bundle.path, options.store))
    pruned = prune_magnitude(bundle, AMOUNT if options.amount is None else options.amount)
    if was_trained_on(bundle, store):
        pruned = summarise(pruned, store)
    pruned.save(options.out, force=options.force)
    say(
        f"{zero_share(pruned):.1%} of the parameters are zero (before: {zero_share(bundle):.1%}). Zeros alone make a "
        "model neither smaller nor faster: only kernels and files made for sparse weights do"
    )
    return [("bundle", bundle), ("pruned", Bundle.load(options.out))]
