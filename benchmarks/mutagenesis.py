"""Times saturation mutagenesis: local recomputation against whole passes, and against tangermeme.

`deepsea` (919 targets, 1,000 bp) has no global stage, so local recomputation applies: the same mutants come from it,
from whole passes in fp32 in batches, and from tangermeme with and without its own fast path. Whole passes are timed on
a stretch of the sequence and scaled to all of it. The original DNA model has squeeze-excitation and
attention: its table says how much could be kept at all, and what helps instead is measured: batches, layout, precision.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from reference_models import OriginalDnaModel
from torch import Tensor

from seqclass.attribution.mutagenesis import mutate_in_full, mutate_locally
from seqclass.attribution.mutagenesis_trunk import kept_by_stage, kept_text
from seqclass.models import as_channels_first, create_model

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work: Callable[[], object], rounds: int = 2) -> float:
    """The least of several times, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def compare_on_deepsea(stretch: int, tangermeme: bool) -> None:
    model = create_model("deepsea", num_targets=919).eval().to(DEVICE)
    tokens = torch.randint(0, 4, (1, 1000), device=DEVICE)
    print(kept_text(kept_by_stage(model)))
    begin, end = 500 - stretch // 2, 500 + stretch // 2
    mutants = 3 * 1000
    local = seconds(lambda: mutate_locally(model, tokens, 0, 1000))
    whole = seconds(lambda: mutate_in_full(model, tokens, begin, end), 1) * 1000 / stretch
    ours, theirs = mutate_locally(model, tokens, 0, 1000), mutate_in_full(model, tokens, begin, end)
    apart = float((ours.mutants[:, begin:end] - theirs.mutants).abs().max())
    print(f"\n{'all substitutions of 1,000 bp':40}{'seconds':>10}{'mutants/s':>12}{'ratio':>8}")
    print(f"{'whole passes, fp32':40}{whole:>10.2f}{mutants / whole:>12,.0f}{1:>8.1f}")
    print(f"{'local recomputation, fp32':40}{local:>10.2f}{mutants / local:>12,.0f}{whole / local:>8.1f}")
    print(f"largest difference of a logit: {apart:.1e}")
    if tangermeme:
        from tangermeme.saturation_mutagenesis import saturation_mutagenesis

        view, letters = as_channels_first(model), torch.eye(4)[tokens.cpu()].transpose(1, 2)
        for fast, (first, last) in ((False, (begin, end)), (True, (0, 1000))):
            start = time.perf_counter()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = saturation_mutagenesis(
                    view,
                    letters,
                    start=first,
                    end=last,
                    raw_outputs=True,
                    fast=fast,
                    batch_size=128,
                    device=str(DEVICE),
                )
            took = (time.perf_counter() - start) * 1000 / (last - first)
            name = f"tangermeme, fast={fast}"
            print(f"{name:40}{took:>10.2f}{mutants / took:>12,.0f}{whole / took:>8.1f}")
            for warning in caught:
                print(f"    {str(warning.message)[:200]}")
            apart = float((found.y_hat.permute(0, 2, 1, 3).to(DEVICE) - ours.mutants[:, first:last]).abs().max())
            print(f"    largest difference of a logit from local recomputation: {apart:.1e}")


def compare_on_the_original(count: int) -> None:
    model = create_model("wrn_transformer_xl", num_targets=919, causal=True).eval().to(DEVICE)
    print("\n" + kept_text(kept_by_stage(model)))
    usual = OriginalDnaModel(model).eval().to(DEVICE)
    tokens = torch.randint(0, 4, (count, 1000), device=DEVICE)

    def passes(run: Callable[[Tensor], Tensor], batch: int) -> Callable[[], None]:
        return lambda: [run(part) for part in tokens.split(batch)] and None

    def in_bf16(part: Tensor) -> Tensor:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            return model(part)

    print(f"\n{'whole passes of the original DNA model':40}{'mutants/s':>12}{'ratio':>8}")
    first = None
    for name, run, batch in (
        ("channels first, fp32, one at a time", usual, 1),
        (f"channels first, fp32, batches of {count}", usual, count),
        (f"channels last, fp32, batches of {count}", model, count),
        (f"channels last, bf16, batches of {count}", in_bf16, count),
    ):
        rate = count / seconds(passes(run, batch))
        first = first or rate
        print(f"{name:40}{rate:>12,.1f}{rate / first:>8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stretch", type=int, default=64, help="bp whose whole passes are timed")
    parser.add_argument("--count", type=int, default=64, help="sequences of the original model's comparison")
    parser.add_argument("--no-tangermeme", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{DEVICE.type}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    with torch.inference_mode():
        compare_on_deepsea(options.stretch, not options.no_tangermeme)
        compare_on_the_original(options.count)


if __name__ == "__main__":
    main()
