import json
import re

import pytest
import torch

from seqclass.blocks import (
    AttentionPool,
    BiLSTMEncoder,
    Block,
    CentreMax,
    DenseHead,
    Flatten,
    LearnedEmbedding,
    LinearHead,
    MaxPool,
    MLPHead,
    OneHotEmbedding,
    ProtCNNStem,
    TransformerXLEncoder,
    Vectors,
    WideResNetStem,
    build,
)
from seqclass.cli import main
from seqclass.errors import AssemblyError, UnknownNameError
from seqclass.models import SequenceClassifier, create_model, list_models
from seqclass.models.strands import reverse_complement, strand_mean
from seqclass.models.summary import summarise

SMALL = {"channels": 8, "widths": (8, 16), "strides": (2, 2), "expansion": 2, "layers": 1, "heads": 2, "head_size": 4}
KINDS = [
    {"pool": "flatten", "length": 48},
    {"pool": "flatten", "length": 48, "embedding": "one-hot", "causal": True},
    {"pool": "centre-max"},
    {"pool": "centre-max", "embedding": "one-hot"},
]


def small(**options: object) -> SequenceClassifier:
    model = create_model("wrn_transformer_xl", num_targets=3, **SMALL | {"inner": 8, "hidden": 12} | options)
    with torch.no_grad():
        model(torch.randint(0, 4, (16, 48)))
    return model.eval()


def test_the_original_dna_model_has_its_number_of_parameters() -> None:
    model = create_model("wrn_transformer_xl", num_targets=919)
    assert sum(parameter.numel() for parameter in model.parameters()) == 39_286_287
    assert model(torch.randint(0, 5, (2, 1000))).shape == (2, 919)


@pytest.mark.parametrize("options", KINDS)
def test_tokens_and_soft_letters_give_the_same_logits(options: dict[str, object]) -> None:
    model = small(**options)
    tokens = torch.randint(0, 5, (3, 48), dtype=torch.uint8)
    letters = torch.cat([torch.eye(4), torch.full((1, 4), 0.25)])[tokens.long()]
    torch.testing.assert_close(model(tokens), model(letters))


@pytest.mark.parametrize("options", KINDS)
def test_every_parameter_gets_a_gradient(options: dict[str, object]) -> None:
    # Wide enough that no gate of the squeeze-excitation starts dead under its ReLU.
    model = small(**options | {"channels": 64, "widths": (64, 64)}).train()
    model(torch.randint(0, 5, (4, 48))).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


@pytest.mark.parametrize("options", KINDS[2:])
@pytest.mark.parametrize("length", [16, 33, 48])
def test_padding_and_batch_mates_do_not_change_logits(options: dict[str, object], length: int) -> None:
    model = small(**options)
    tokens = torch.randint(0, 4, (3, 60), dtype=torch.uint8)
    mask = torch.ones(3, 60, dtype=torch.bool)
    mask[0, length:] = False
    alone = model(tokens[:1, :length])
    torch.testing.assert_close(model(tokens, mask)[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", KINDS)
def test_a_model_is_rebuilt_from_json_with_the_same_logits(options: dict[str, object]) -> None:
    model = small(**options)
    config = json.loads(json.dumps(model.config()))
    again = build(config).eval()
    assert again.config() == config
    again.load_state_dict(model.state_dict())
    tokens = torch.randint(0, 5, (2, 48))
    assert torch.equal(again(tokens), model(tokens))


@pytest.mark.parametrize("lengths", [None, [48, 31, 40]])
def test_the_mean_of_both_strands_is_the_same_from_either(lengths: list[int] | None) -> None:
    model = small(**KINDS[2])
    tokens = torch.randint(0, 5, (3, 48), dtype=torch.uint8)
    mask = None if lengths is None else torch.arange(48) < torch.tensor(lengths).unsqueeze(1)
    other = reverse_complement(tokens, mask)
    assert torch.equal(strand_mean(model, tokens, mask), strand_mean(model, other, mask))
    twice = reverse_complement(other, mask)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    assert torch.equal(twice[real], tokens[real])


def test_soft_letters_have_the_same_other_strand() -> None:
    tokens = torch.randint(0, 4, (2, 9))
    letters = torch.eye(4)[tokens]
    assert torch.equal(reverse_complement(letters), torch.eye(4)[reverse_complement(tokens)])


def test_models_are_found_by_name_or_pattern() -> None:
    assert "wrn_transformer_xl" in list_models("*transformer*")
    assert list_models("nothing*") == []
    with pytest.raises(UnknownNameError, match="Did you mean wrn_transformer_xl"):
        create_model("wrn_transfomer_xl", num_targets=1)
    with pytest.raises(AssemblyError, match="cannot be built so"):
        create_model("wrn_transformer_xl", num_targets=1, depth=3)


def test_neighbours_that_do_not_fit_are_both_named() -> None:
    embedding, stem = OneHotEmbedding(), WideResNetStem(4, 8, (8, 16), (2, 2), 2)
    encoder, head = TransformerXLEncoder(16, 1, 2, 4, 8), DenseHead(32, 3, CentreMax(4), 8)
    with pytest.raises(AssemblyError, match="embedding gives 4 channels, stem expects 5"):
        SequenceClassifier(embedding, WideResNetStem(5, 8, (8, 16), (2, 2), 2), encoder, head)
    with pytest.raises(AssemblyError, match="stem leaves 16 channels, encoder expects 8"):
        SequenceClassifier(embedding, stem, TransformerXLEncoder(8, 1, 2, 4, 8), head)
    with pytest.raises(AssemblyError, match="stem and encoder leave 16 channels, head expects 32"):
        SequenceClassifier(embedding, stem, encoder, head, skip="add")
    flat = DenseHead(32, 3, Flatten(10), 8)
    with pytest.raises(AssemblyError, match="flattens positions, and no length is given"):
        SequenceClassifier(embedding, stem, encoder, flat)
    with pytest.raises(AssemblyError, match="leaves 12 positions of 48 residues, and the head flattens 10"):
        SequenceClassifier(embedding, stem, encoder, flat, length=48)
    with pytest.raises(AssemblyError, match="a sequence of 50 residues, where the model takes 48"):
        small(**KINDS[0])(torch.zeros(1, 50, dtype=torch.uint8))


def test_bfloat16_stays_close_to_single_precision() -> None:
    model = small(**KINDS[0])
    tokens = torch.randint(0, 5, (4, 48))
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(tokens)
    torch.testing.assert_close(rough.float(), model(tokens), rtol=0.05, atol=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_agree() -> None:
    model = small(**KINDS[0])
    tokens = torch.randint(0, 5, (4, 48))
    torch.testing.assert_close(model.cuda()(tokens.cuda()).cpu(), model.cpu()(tokens), rtol=1e-3, atol=1e-3)


def test_any_embedding_stem_encoder_and_head_compose_in_five_lines() -> None:
    embedding = LearnedEmbedding(6, "protein")
    stem = ProtCNNStem(6, 8, 4, dilations=(1, 3))
    encoder = BiLSTMEncoder(8, 5, directions="concatenate")
    head = MLPHead(18, 4, AttentionPool(18), (7,))
    model = SequenceClassifier(embedding, stem, encoder, head, "concatenate", "protein")
    assert model(torch.randint(0, 21, (2, 33))).shape == (2, 4)
    vectors = SequenceClassifier(
        Vectors(9), None, TransformerXLEncoder(9, 1, 2, 4, 8), LinearHead(9, 4, MaxPool()), "add"
    )
    assert (vectors.input_kind, vectors.vector_size) == ("vectors", 9)
    assert vectors(torch.randn(2, 12, 9)).shape == (2, 4)


def test_parts_that_lack_what_is_read_of_them_are_named() -> None:
    class Bare(Block):
        pass

    with pytest.raises(AssemblyError, match="Bare does not say its in_channels"):
        SequenceClassifier(OneHotEmbedding(), Bare(), None, LinearHead(4, 1, MaxPool()))
    with pytest.raises(AssemblyError, match="the embedding reads protein, and the model dna"):
        SequenceClassifier(OneHotEmbedding("protein"), None, None, LinearHead(20, 1, MaxPool()))
    with pytest.raises(AssemblyError, match="a 'around' skip connection"):
        SequenceClassifier(OneHotEmbedding(), None, None, LinearHead(4, 1, MaxPool()), "around")


def test_a_summary_counts_what_the_layers_do(capsys: pytest.CaptureFixture[str]) -> None:
    stages = {stage.name: stage for stage in summarise(create_model("deepsea", num_targets=919))}
    assert stages["stem.blocks.0"].shape == (248, 320)
    assert stages["stem"].shape == (53, 960)
    convolutions = [(4, 320, 993), (320, 480, 241), (480, 960, 53)]
    dense = [(53 * 960, 925), (925, 919)]
    assert stages[""].flops == sum(2 * 8 * a * b * n for a, b, n in convolutions) + sum(2 * a * b for a, b in dense)
    assert stages[""].parameters == 52_843_119
    main(["models", "show", "deepsea", "--num-targets", "919"])
    assert re.search(r"whole model +DeepSEA +919 +52,843,119 +1,099,204,790", capsys.readouterr().out)
    main(["models", "list", "*cnn*"])
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()] == ["protcnn", "protcnn_small"]
    for words, told in (
        (["models", "show", "deapsea"], "Did you mean deepsea"),
        (["models", "show", "deepsea", "--length", "50"], "at least 163"),
        (["models", "list", "nothing*"], "no model matches 'nothing*'"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert told in capsys.readouterr().err
