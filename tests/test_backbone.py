"""Encoders of language models against transformers' own models; what training may change of them; their adapters."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seqclass.blocks import Block, LanguageModelEmbedding, TransformersEncoder, build, merged, register_block
from seqclass.blocks.backbone import FAMILIES, bare_encoder
from seqclass.errors import AssemblyError, MissingPackageError, UnknownNameError

transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

BERT: dict[str, Any] = {
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
}
ESM: dict[str, Any] = {key: value for key, value in BERT.items() if key not in ("hidden_act", "type_vocab_size")} | {
    "pad_token_id": 1,
    "position_embedding_type": "rotary",
    "rope_theta": 10000.0,
    "emb_layer_norm_before": False,
    "token_dropout": True,
}
T5: dict[str, Any] = {
    "d_model": 12,
    "d_kv": 5,
    "d_ff": 20,
    "num_layers": 3,
    "num_heads": 2,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.0,
    "layer_norm_epsilon": 1e-6,
    "initializer_factor": 1.0,
    "feed_forward_proj": "relu",
}
CONFIGS: dict[str, dict[str, Any]] = {"bert": BERT, "esm": ESM, "t5": T5}
SPECIAL = {"bert": (1, 1), "esm": (1, 1), "t5": (0, 1)}
VARIANTS = [
    ("bert", BERT),
    ("bert", BERT | {"hidden_act": "relu", "type_vocab_size": 1, "layer_norm_eps": 0.1}),
    ("esm", ESM),
    ("esm", ESM | {"rope_theta": 7.0, "token_dropout": False, "layer_norm_eps": 0.1}),
    ("esm", ESM | {"position_embedding_type": "absolute", "emb_layer_norm_before": True}),
    ("t5", T5),
    ("t5", T5 | {"feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 0.1}),
    ("t5", T5 | {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 9}),
]
ROWS = 9


def scatter(module: nn.Module) -> None:
    """Puts no parameter at a value that hides its effect."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)


def encoder(family: str, **options: Any) -> TransformersEncoder:
    before, behind = SPECIAL[family]
    made = TransformersEncoder(family, CONFIGS[family], before, behind, **options)
    scatter(made)
    return made.eval()


def ragged(*lengths: int) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize(("family", "config"), VARIANTS)
def test_the_encoder_is_transformers_own(family: str, config: dict[str, Any]) -> None:
    """Its model gets ids, with special tokens around each sequence; ours gets their vectors."""
    extra = {} if family == "t5" else {"add_pooling_layer": False}
    settings = getattr(transformers, FAMILIES[family].config_class)(
        **config, vocab_size=ROWS, eos_token_id=2, **({"mask_token_id": 3} if family == "esm" else {})
    )
    theirs = getattr(transformers, FAMILIES[family].model_class)(settings, **extra).eval()
    scatter(theirs)
    table = theirs.get_input_embeddings().weight.detach()
    before, behind = SPECIAL[family]
    special = [4] * before + [2] * behind
    ours = TransformersEncoder(family, config, before, behind).eval()
    ours.load_weights(bare_encoder(family, theirs).state_dict(), table[special])
    whole = None
    if before:
        whole = TransformersEncoder(family, config, before, behind, whole=True).eval()
        whole.load_state_dict(ours.state_dict())
    lengths = [11, 4, 1]
    tokens = torch.randint(5, ROWS, (3, 11))
    mask = ragged(*lengths)
    with torch.no_grad():
        found, kept = ours(table[tokens] * mask[..., None], mask)
        assert kept is mask
        for row, length in enumerate(lengths):
            ids = torch.tensor([[*special[:before], *tokens[row, :length].tolist(), *special[before:]]])
            expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            torch.testing.assert_close(found[row, :length], expected[before : before + length], atol=1e-5, rtol=1e-5)
            if whole is not None:
                first, mask_of_it = whole(table[tokens], mask)
                assert first.shape == (3, 1, 12)
                assert mask_of_it is None
                torch.testing.assert_close(first[row, 0], expected[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_and_batch_mates_do_not_change_vectors(family: str, attention: str) -> None:
    made = encoder(family, attention=attention)
    x, mask = torch.randn(3, 14, 12), ragged(14, 9, 3)
    found, _ = made(x, mask)
    for row, length in enumerate((14, 9, 3)):
        alone, none = made(x[row : row + 1, :length])
        assert none is None
        torch.testing.assert_close(found[row, :length], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_an_encoder_between_other_blocks_needs_no_special_tokens(family: str) -> None:
    made = TransformersEncoder(family, CONFIGS[family]).eval()
    assert made.special is None
    x, mask = torch.randn(2, 10, 12), ragged(10, 6)
    torch.testing.assert_close(made(x, mask)[0][1, :6], made(x[1:, :6])[0][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_every_parameter_is_used(family: str) -> None:
    made = encoder(family).train()
    made(torch.randn(2, 8, 12), ragged(8, 5))[0].square().sum().backward()
    assert [name for name, parameter in made.named_parameters() if not parameter.grad.abs().sum() > 0] == []


@given(st.lists(st.floats(0, 1), min_size=20, max_size=20).filter(lambda values: sum(values) > 0.1))
def test_soft_letters_are_a_mixture_of_letters_and_the_unknown_residue(values: list[float]) -> None:
    embedding = LanguageModelEmbedding(4, deviation=1.0)
    share = torch.tensor(values) / sum(values)
    common = share.min()
    expected = (share - common) @ embedding.weight[:20] + 20 * common * embedding.weight[20]
    torch.testing.assert_close(embedding(share[None, None])[0][0, 0], expected, atol=1e-5, rtol=1e-5)


def test_letters_and_their_tokens_embed_alike_and_x_has_its_own_vector() -> None:
    embedding = LanguageModelEmbedding(6)
    tokens = torch.arange(21)[None]
    soft = torch.cat([torch.eye(20), torch.full((1, 20), 1 / 20)])[None]
    vectors, _ = embedding(tokens.to(torch.uint8))
    torch.testing.assert_close(vectors[0], embedding.weight)
    torch.testing.assert_close(embedding(soft)[0], vectors)
    assert not torch.allclose(vectors[0, 20], vectors[0, :20].mean(dim=0), atol=1e-4)


def test_the_gradient_of_a_letter_is_its_vector() -> None:
    embedding = LanguageModelEmbedding(6)
    letters = torch.eye(20)[torch.tensor([[3, 7]])].requires_grad_()
    embedding(letters)[0][..., 2].sum().backward()
    torch.testing.assert_close(letters.grad, embedding.weight[:20, 2].expand(1, 2, 20))


def trained(made: nn.Module, *inputs: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state before and after one step of training."""
    before = {key: value.clone() for key, value in made.state_dict().items()}
    optimiser = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=0.1, weight_decay=0.0)
    made(*inputs)[0].square().sum().backward()
    optimiser.step()
    return before, made.state_dict()


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_frozen_layers_and_all_before_them_stay_as_they_were(family: str, frozen: int) -> None:
    made = encoder(family, frozen_layers=frozen).train()
    x = torch.randn(2, 8, 12, requires_grad=True)
    if frozen == 3:
        assert not any(parameter.requires_grad for parameter in made.parameters())
        return
    before, after = trained(made, x)
    place = {"t5": "model.block.", "bert": "model.encoder.layer.", "esm": "model.encoder.layer."}[family]
    last = ("final_layer_norm", "emb_layer_norm_after")
    for name, _ in made.named_parameters():
        behind = name.startswith(place) and int(name[len(place)]) >= frozen
        free = not frozen or behind or any(part in name for part in last)
        assert torch.equal(before[name], after[name]) != free, name


def test_a_frozen_embedding_stays_as_it_was() -> None:
    assert not LanguageModelEmbedding(4, frozen=True).weight.requires_grad
    assert LanguageModelEmbedding(4).weight.requires_grad


@pytest.mark.parametrize("family", list(CONFIGS))
def test_fresh_adapters_change_nothing_and_training_changes_only_them(family: str) -> None:
    plain = encoder(family)
    made = encoder(family, lora_rank=2, frozen_layers=1)
    weights = {key.removeprefix("model."): value for key, value in plain.state_dict().items()}
    made.load_weights(weights, plain.special.detach())
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.zeros_(parameter)
    x, mask = torch.randn(2, 9, 12), ragged(9, 4)
    torch.testing.assert_close(made(x, mask), plain(x, mask))
    before, after = trained(made.train(), x, mask)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    # The gradient of A is zero as long as B is.
    assert changed == {name for name in after if "lora_B" in name}
    assert len(changed) == 2 * 2
    assert not any(name.startswith(("model.block.0", "model.encoder.layer.0")) for name in changed)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_merged_adapters_give_the_same_vectors_and_leave_no_trace(family: str) -> None:
    made = encoder(family, lora_rank=3, lora_alpha=7)
    whole = merged(made)
    x, mask = torch.randn(2, 9, 12), ragged(9, 4)
    torch.testing.assert_close(whole(x, mask)[0][mask], made(x, mask)[0][mask], atol=1e-4, rtol=1e-4)
    assert set(whole.state_dict()) == set(encoder(family).state_dict())
    rebuilt = build(json.loads(json.dumps(whole.config()))).eval()
    rebuilt.load_state_dict(whole.state_dict())
    with torch.no_grad():
        assert torch.equal(rebuilt(x, mask)[0], whole(x, mask)[0])
    assert made.config()["arguments"]["lora_rank"] == 3
    assert any("lora_A" in name for name in made.state_dict())
    query = {"t5": "block.0.layer.0.SelfAttention.q"}.get(family, "encoder.layer.0.attention.self.query")
    part = made.model.get_submodule(query)
    low, high = part.lora_A["default"].weight, part.lora_B["default"].weight
    expected = part.base_layer.weight + 7 / 3 * high @ low
    torch.testing.assert_close(whole.model.get_submodule(query).weight, expected)


def test_a_model_without_adapters_is_not_copied() -> None:
    made = encoder("bert")
    assert merged(made) is made


@pytest.mark.parametrize("family", list(CONFIGS))
def test_checkpointing_gives_the_same_gradients(family: str, capfd: pytest.CaptureFixture[str]) -> None:
    plain, saving = encoder(family).train(), encoder(family, checkpointing=True).train()
    saving.load_state_dict(plain.state_dict())
    x, mask = torch.randn(2, 9, 12), ragged(9, 4)
    seen = []
    layers = saving.model.get_submodule(FAMILIES[family].layers)
    inner = next(part for part in layers[1].modules() if isinstance(part, nn.Linear))
    inner.register_forward_hook(lambda *_: seen.append(1))
    for made in (plain, saving):
        made(x, mask)[0][mask].square().sum().backward()
    assert len(seen) == 2, "the second layer is computed again in the backward pass"
    assert capfd.readouterr().err == ""
    for (name, one), (_, other) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_an_encoder_is_rebuilt_from_json(family: str) -> None:
    made = encoder(family, frozen_layers=1, checkpointing=True)
    config = json.loads(json.dumps(made.config()))
    again = build(config)
    assert again.config() == config == made.config()
    again.load_state_dict(made.state_dict())
    x = torch.randn(2, 8, 12)
    assert torch.equal(again.eval()(x)[0], made(x)[0])


def test_bert_takes_as_many_residues_as_it_has_positions() -> None:
    for family, longest in (("bert", 30), ("esm", 28)):
        made = encoder(family)
        made(torch.randn(1, longest, 12))
        message = f"a sequence of {longest + 1} positions, where the encoder takes {longest}"
        with pytest.raises(AssemblyError, match=message):
            made(torch.randn(1, longest + 1, 12))
    encoder("t5")(torch.randn(1, 300, 12))


@pytest.mark.parametrize("token", [21, 255])
def test_tokens_outside_the_vocabulary_are_refused(token: int) -> None:
    with pytest.raises(AssemblyError, match=f"token {token}, where protein has 0 to 20"):
        LanguageModelEmbedding(4)(torch.tensor([[0, token]], dtype=torch.uint8))


@pytest.mark.parametrize(
    ("family", "changes", "options", "message"),
    [
        ("bert", {"hidden_size": ...}, {}, "the configuration lacks hidden_size"),
        ("bert", {"is_decoder": True}, {}, "the configuration has is_decoder"),
        ("bert", {"num_attention_heads": 5}, {}, r"hidden size \(12\) is not a multiple of the number of attention"),
        ("esm", {"hidden_size": "wide"}, {}, "an encoder of hidden_size wide, num_hidden_layers 3, .* 32. Let each be"),
        ("t5", {"d_kv": -4}, {}, "an encoder of d_model 12, d_kv -4, "),
        ("bert", {"num_attention_heads": 0}, {}, "num_attention_heads 0, "),
        ("bert", {"layer_norm_eps": "small"}, {}, "transformers cannot build such an encoder"),
        ("bert", {"hidden_act": "no such"}, {}, "transformers cannot build such an encoder"),
        ("t5", {"feed_forward_proj": "a-b-c"}, {}, "transformers cannot build such an encoder"),
        ("t5", {}, {"behind": -1}, "0 and -1 special tokens"),
        ("t5", {}, {"whole": True}, "there is none before the sequence"),
        ("bert", {}, {"frozen_layers": 4}, "4 frozen layers of 3"),
        ("bert", {}, {"lora_rank": 2, "frozen_layers": 3}, "adapters, and all 3 layers are frozen"),
        ("bert", {}, {"lora_rank": 0}, "adapters of rank 0 and alpha 16"),
        ("bert", {}, {"lora_rank": 2, "lora_targets": ["q"]}, "adapters for q, where there are dense, key, query, val"),
        ("bert", {}, {"lora_rank": 2, "lora_targets": []}, "adapters for no layers"),
        ("bert", {}, {"attention": "kernels/from-the-hub"}, "'kernels/from-the-hub' attention"),
    ],
)
def test_impossible_encoders_say_why(
    family: str, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    config = {key: value for key, value in (CONFIGS[family] | changes).items() if value is not ...}
    with pytest.raises(AssemblyError, match=message) as caught:
        TransformersEncoder(family, config, **dict(zip(("before", "behind"), SPECIAL[family], strict=True)) | options)
    assert caught.value.remedy


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no language-model family 'gpt2'"):
        TransformersEncoder("gpt2", BERT)


@pytest.mark.parametrize(("package", "options"), [("transformers", {}), ("peft", {"lora_rank": 2})])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    package: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf'needs the {package} package\. Run: pip install "seqclass\[transf'):
        TransformersEncoder("bert", BERT, **options)


def test_a_block_records_mappings_that_could_be_taken_for_no_block() -> None:
    class Keeper(Block):
        def __init__(self, given: Any) -> None:
            super().__init__()

    register_block(Keeper)
    given = {"a": 1, "b": {"c": [1.5, None, {"d": "e"}]}}
    config = json.loads(json.dumps(Keeper(given).config()))
    assert build(config).arguments == {"given": given}
    with pytest.raises(AssemblyError, match=r"Keeper\.given\.b is a dict, which a configuration cannot hold"):
        Keeper({"b": {"block": "Keeper"}}).config()


def test_blocks_import_neither_transformers_nor_peft_until_one_is_built(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TransformersEncoder("bert", BERT).config()))
    code = (
        "import json, sys, seqclass.blocks, seqclass.models\n"
        "heavy = {'transformers', 'peft', 'pytorch_lightning'}\n"
        "assert not heavy & set(sys.modules)\n"
        "seqclass.blocks.build(json.load(open('config.json')))\n"
        "assert heavy & set(sys.modules) == {'transformers'}\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_copy_of_an_encoder_is_independent(family: str, checkpointing: bool) -> None:
    made = encoder(family, checkpointing=checkpointing)
    other = copy.deepcopy(made)
    x = torch.randn(1, 6, 12)
    assert torch.equal(made(x)[0], other(x)[0])
    scatter(other)
    assert not torch.allclose(made(x)[0], other(x)[0])
