"""`seqclass embed`: vectors of proteins from a language model or a bundle."""

from __future__ import annotations

import argparse
from typing import Any

from seqclass.cli.parsing import add_command, add_force
from seqclass.terminal import note, say


def add_embed_command(commands: Any) -> None:
    """Adds `embed`."""
    embed = add_command(commands, "embed", "turn sequences into vectors with a language model or a bundle", _embed)
    embed.add_argument(
        "--backbone",
        required=True,
        help="folder, or name on the Hugging Face hub, of ProtT5, ProtBert or ESM-2; or the folder of a bundle",
    )
    embed.add_argument("fasta", help="sequences, plain or gzip")
    embed.add_argument("out", help="HDF5 file to write; 'seqclass data import embeddings' reads it")
    embed.add_argument("--per-residue", action="store_true", help="a vector a residue (default: their mean)")
    embed.add_argument(
        "--max-length",
        type=int,
        help="longer sequences are embedded in overlapping windows of so many residues (default: what the model takes, "
        "4000 at most)",
    )
    embed.add_argument("--overlap", type=int, help="residues that windows share (default: a quarter of a window)")
    embed.add_argument(
        "--batch-residues",
        type=int,
        help="the most residues in a batch, with padding (default: 1024 on a CPU, 8192 on a GPU)",
    )
    embed.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        help="precision (default: float32 on a CPU, bfloat16 or float16 on a GPU)",
    )
    add_force(embed)


def _embed(options: argparse.Namespace) -> None:
    from seqclass.embed import embed, load_backbone

    notes = embed(
        load_backbone(options.backbone, dtype=options.dtype),
        options.fasta,
        options.out,
        per_residue=options.per_residue,
        max_length=options.max_length,
        overlap=options.overlap,
        batch_residues=options.batch_residues,
        force=options.force,
    )
    for each in notes:
        note(each)
    say(f"wrote {options.out}")
