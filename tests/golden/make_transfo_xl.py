"""Makes `transfo_xl.safetensors`: weights, two consecutive segments, outputs and memories of transformers' TransfoXL.

transformers 4.37.2 is the last version whose TransfoXL runs (4.38 to 4.57 break its forward, 5 has none), and it does
not live beside this library's own requirements. Run it in an environment of its own:

    python3.11 -m venv /tmp/transfo_xl
    /tmp/transfo_xl/bin/pip install torch==2.13.0
    /tmp/transfo_xl/bin/pip install transformers==4.37.2 "numpy<2" safetensors
    /tmp/transfo_xl/bin/python tests/golden/make_transfo_xl.py

Memory is always passed explicitly: left out, TransfoXL starts with `mem_len` slots of zeros that are attended to.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import TransfoXLConfig, TransfoXLModel

# The second segment comes to a memory that the first has filled beyond its length, so something is forgotten.
SIZES = {"d_model": 12, "n_layer": 3, "n_head": 3, "d_head": 4, "d_inner": 20, "mem_len": 6}
BATCH, SEGMENTS = 2, (9, 7)
CASES = {
    "post": {"pre_lnorm": False, "untie_r": True, "clamp_len": -1},
    "pre": {"pre_lnorm": True, "untie_r": False, "clamp_len": 5},
}


def main() -> None:
    """Writes the file."""
    torch.manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for name, case in CASES.items():
        # same_length is on by default, and hides positions that causal attention sees.
        config = TransfoXLConfig(
            vocab_size=4, cutoffs=[], d_embed=SIZES["d_model"], div_val=1, same_length=False, **SIZES, **case
        )
        model = TransfoXLModel(config).eval()
        for key, weight in model.named_parameters():
            torch.nn.init.normal_(weight, mean=1.0 if key.endswith("layer_norm.weight") else 0.0, std=0.3)
            if not key.startswith("word_emb"):
                tensors[f"{name}.weight.{key}"] = weight.detach()
        memory = [torch.zeros(0, BATCH, SIZES["d_model"]) for _ in range(SIZES["n_layer"])]
        for number, length in enumerate(SEGMENTS):
            x = torch.randn(BATCH, length, SIZES["d_model"])
            with torch.no_grad():
                output = model(inputs_embeds=x, mems=memory)
            memory = output.mems
            tensors[f"{name}.{number}.input"] = x
            tensors[f"{name}.{number}.output"] = output.last_hidden_state
            tensors[f"{name}.{number}.memory"] = torch.stack(memory).transpose(1, 2)
    tensors = {key: value.clone().contiguous() for key, value in tensors.items()}
    metadata = {"sizes": json.dumps(SIZES), "cases": json.dumps(CASES)}
    save_file(tensors, Path(__file__).with_name("transfo_xl.safetensors"), metadata)


if __name__ == "__main__":
    main()
