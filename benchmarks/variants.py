"""Scoring the variants of a VCF, against the rate at which the bare model goes through as many windows.

    python benchmarks/variants.py [--threads N] [--records N] [--rounds N]

The VCFs are those of three yeast strains in SEQCLASS_REAL_DATA/yeast (29,398 records); a simulated one otherwise. The
model is small and untrained, in single precision, with 251 targets. What counts is the whole of `seqclass variants`,
from the VCF to HDF5 with all scores, but for reading the genome. The bare model's rate is that of forward passes over
both strands of as many windows, already on the device as tokens, in the same batches, and nothing else. Both take
turns, file by file, as others may use the machine; the median of the rounds' ratios counts.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from seqclass.bundle import Bundle
from seqclass.data.simulate.variants import simulate_vcf
from seqclass.models import create_model
from seqclass.models.strands import strand_mean
from seqclass.predict import best_device, evaluating
from seqclass.targets import Target
from seqclass.variants import Genome, VcfVariants, score_variants

LENGTH, NUM_TARGETS = 1000, 251
SMALL = {"channels": 32, "widths": (32, 64, 96), "strides": (4, 2, 2), "expansion": 2, "layers": 1, "hidden": 64}
BATCH_RESIDUES = 1 << 18
BAR = 0.8


def find_vcfs(folder: Path, records: int | None) -> tuple[Path, list[Path]]:
    """The genome and the VCFs; of each only the first records, where so many are asked for."""
    real = os.environ.get("SEQCLASS_REAL_DATA")
    if real:
        genome, paths = Path(real) / "yeast" / "sacCer3.fa", sorted((Path(real) / "yeast" / "variants").glob("*.vcf"))
    else:
        simulated = simulate_vcf(folder / "simulated", length=200_000)
        genome, paths = simulated / "genome.fa", [simulated / "variants.vcf"]
    if records is None:
        return genome, paths
    first = []
    for path in paths:
        with open(path) as file:
            lines = list(islice(file, records + 1000))
        head = [line for line in lines if line.startswith("#")]
        short = folder / path.name
        short.write_text("".join(head + lines[len(head) : len(head) + records // len(paths)]))
        first.append(short)
    return genome, first


def bare_seconds(bundle: Bundle, windows: int) -> float:
    """Of forward passes over both strands of so many windows."""
    size = BATCH_RESIDUES // LENGTH
    with evaluating(bundle.model) as device, torch.inference_mode():
        tokens = torch.randint(0, 4, (size, LENGTH), dtype=torch.uint8, device=device)
        start = time.perf_counter()
        for begin in range(0, windows, size):
            out = strand_mean(bundle.model, tokens[: min(size, windows - begin)])
        out.cpu()
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="of PyTorch (default: all)")
    parser.add_argument("--records", type=int, help="only so many records in all")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: %(default)s)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = create_model("wrn_transformer_xl", num_targets=NUM_TARGETS, length=LENGTH, **SMALL).eval()
    bundle = Bundle(model, [Target(f"t{i}") for i in range(NUM_TARGETS)], [1] * NUM_TARGETS, LENGTH, 200)
    device = best_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"torch {torch.__version__}, {name}, {platform.platform()}; {parameters:,} parameters")

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        genome_path, paths = find_vcfs(folder, options.records)
        genome = Genome(genome_path)
        bare_seconds(bundle, 600)
        shares, rates = [], []
        for round_ in range(options.rounds):
            alleles = windows = 0
            ours = bare = 0.0
            for path in paths:
                start = time.perf_counter()
                source = VcfVariants(path, genome, LENGTH)
                notes = score_variants(bundle, source, folder / "out.h5", force=True)
                ours += time.perf_counter() - start
                scored = int(notes[-1].split(" alleles, ")[1].split()[0].replace(",", ""))
                bare += bare_seconds(bundle, scored)
                alleles, windows = alleles + source.count, windows + scored
            rates.append(alleles / ours)
            shares.append(bare / ours)
            print(
                f"round {round_ + 1}: {alleles:,} alleles, {windows:,} windows in {ours:.1f} s: {alleles / ours:,.0f} "
                f"alleles/s; the bare model {windows / bare:,.0f} windows/s; share {bare / ours:.3f}"
            )
    share = statistics.median(shares)
    print(f"{statistics.median(rates):,.0f} alleles/s, {share:.3f} of the bare model's rate (bar {BAR})")
    assert np.isfinite(share)
    if share < BAR:
        raise SystemExit(f"below the bar of {BAR}")


if __name__ == "__main__":
    main()
