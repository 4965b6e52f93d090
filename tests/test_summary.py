"""What is said of a model's stages: shapes as in a real pass, parameters and operations as on paper."""

from __future__ import annotations

import pytest
import torch
from test_registry import TINY, inputs, make
from torch import Tensor, nn

from seqclass.errors import AssemblyError
from seqclass.models import Classifier, create_model
from seqclass.models.summary import Stage, summarise


def by_name(model: Classifier, length: int | None = None) -> dict[str, Stage]:
    return {stage.name: stage for stage in summarise(model, length)}


@pytest.mark.parametrize("key", TINY)
def test_shapes_and_parameters_are_those_of_a_real_pass(key: str) -> None:
    model, seen = make(key), {}

    def note(module: nn.Module, _: object, output: Tensor | tuple[Tensor, object]) -> None:
        seen[module] = tuple((output[0] if isinstance(output, tuple) else output).shape[1:])

    stages = by_name(model, model.length or 60)
    hooks = [model.get_submodule(name).register_forward_hook(note) for name in stages]
    model(inputs(model, 1))
    for hook in hooks:
        hook.remove()
    for name, stage in stages.items():
        part = model.get_submodule(name)
        assert stage.kind == type(part).__name__
        assert stage.shape == seen.get(part)
        assert stage.parameters == sum(parameter.numel() for parameter in part.parameters())


@pytest.mark.parametrize("key", TINY)
def test_the_stages_make_up_the_whole(key: str) -> None:
    model = make(key)
    stages = summarise(model, model.length or 60)
    whole = stages.pop()
    assert (whole.name, whole.shape) == ("", (model.num_targets,))
    outer = [stage for stage in stages if isinstance(getattr(model, stage.name.split(".")[0]), nn.ModuleList)]
    outer = [stage for stage in outer if stage.name.count(".") == 1] + [s for s in stages if "." not in s.name]
    assert sum(stage.parameters for stage in outer) == whole.parameters
    assert sum(stage.flops for stage in outer) == whole.flops
    for stage in outer:
        inner = [other for other in stages if other.name.startswith(f"{stage.name}.")]
        assert sum(other.flops for other in inner) <= stage.flops
        own = sum(parameter.numel() for parameter in model.get_submodule(stage.name).parameters(recurse=False))
        assert not inner or sum(other.parameters for other in inner) <= stage.parameters - own


def test_operations_are_two_for_each_multiplication_and_addition() -> None:
    with torch.device("meta"):
        danq, protcnn = create_model("danq", num_targets=919), create_model("protcnn", num_targets=3)
    stages = by_name(danq)
    positions, channels, units = 75, 320, 320
    assert stages["stem"].flops == 2 * 975 * 26 * 4 * channels
    assert stages["encoder"].flops == 2 * positions * 2 * 4 * units * (channels + units)
    assert stages["head.dense.0"].flops == 2 * positions * 2 * units * 925
    assert stages["head.out"].flops == 2 * 925 * 919
    dilated = by_name(protcnn, 200)
    assert dilated["stem.blocks.4"].flops == 2 * 200 * (9 * 1100 * 550 + 550 * 1100)


def test_operations_of_attention_grow_with_the_square_of_the_length() -> None:
    model = create_model("esm2", num_targets=1)
    for length in (60, 600):
        tokens, width = length + 2, 320
        layer = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
        assert by_name(model, length)["encoder"].flops == 6 * layer


@pytest.mark.parametrize("key", ["wrn_transformer_xl", "wrn_bert", "esm2", "prott5", "danq", "light_attention"])
def test_what_a_stage_is_made_of_follows_it(key: str) -> None:
    names = [stage.name for stage in summarise(make(key), TINY[key][1].get("length", 60))]
    inside = {
        "wrn_transformer_xl": ["encoder", "encoder.layers.0", "encoder.layers.1", "head", "head.dense"],
        "wrn_bert": ["encoder.model.embeddings", "encoder.model.encoder.layer.0", "encoder.model.encoder.layer.1"],
        "esm2": ["encoder", "encoder.model.encoder.layer.0", "encoder.model.encoder.layer.1"],
        "prott5": ["encoder", "encoder.model.block.0", "encoder.model.block.1", "encoder.model.final_layer_norm"],
        "danq": ["stem", "stem.blocks.0", "encoder", "encoder.lstm", "head", "head.dense.0", "head.out", ""],
        "light_attention": ["head", "head.pool", "head.dense", "head.norm", "head.out", ""],
    }[key]
    first = names.index(inside[0])
    assert names[first : first + len(inside)] == inside


def test_the_model_stays_as_it_is() -> None:
    model = make("wrn").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summarise(model)
    assert all(part.training and not part._forward_hooks for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_length_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(AssemblyError, match="a sequence of 50 residues, where the model takes 48"):
        summarise(make("wrn"), 50)
    for length in (0, -5):
        with pytest.raises(AssemblyError, match=f"a sample of {length} residues"):
            summarise(make("protcnn"), length)
