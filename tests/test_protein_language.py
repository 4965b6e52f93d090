"""Language models as classifiers against transformers' own classifiers on the same checkpoint; their bundles."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_model_files import LETTERS, LONGEST, SAVE, SIZE, save_bert
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqclass.alphabets import PROTEIN
from seqclass.bundle import Bundle
from seqclass.embed import load_backbone
from seqclass.errors import (
    AssemblyError,
    BackboneError,
    BundleError,
    MissingPackageError,
    SequenceError,
    UnknownNameError,
)
from seqclass.models import SequenceClassifier, create_model, protbert, wrn_bert
from seqclass.models.pretrained import load_checkpoint
from seqclass.predict import predict
from seqclass.saved import seal
from seqclass.targets import Target

transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

NAMES = {"protbert": "bert", "esm2": "esm", "prott5": "t5"}
TINY: dict[str, dict[str, Any]] = {
    "protbert": {"layers": 2, "width": 12, "heads": 2, "inner": 20, "positions": 40},
    "esm2": {"layers": 2, "width": 12, "heads": 2, "inner": 20},
    "prott5": {"layers": 2, "width": 12, "heads": 2, "head_size": 4, "inner": 20},
}
SEQUENCES = ["MKVLAGWX", "M", "ACDEFGHIKLMNPQRSTVWYXXACDE", "WWW"]


def scattered(folder: Path, seed: int = 0) -> Path:
    """The checkpoint with weights that hide nothing: transformers' initial ones are small, and biases zero."""
    generator = torch.Generator().manual_seed(seed)
    file = folder / "model.safetensors"
    weights = {
        key: value if key.endswith("inv_freq") else 0.3 * torch.randn(value.shape, generator=generator)
        for key, value in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def batch(sequences: list[str]) -> tuple[Tensor, Tensor]:
    tokens = torch.full((len(sequences), max(map(len, sequences))), PROTEIN.unknown_token, dtype=torch.uint8)
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, letters in enumerate(sequences):
        tokens[row, : len(letters)] = torch.from_numpy(PROTEIN.encode(letters))
        mask[row, : len(letters)] = True
    return tokens, mask


def inputs_of_theirs(folder: Path, family: str, letters: str) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = tokenizer(letters if family == "esm" else " ".join(letters), return_tensors="pt")
    return {"input_ids": found.input_ids, "attention_mask": found.attention_mask}


def test_cls_logits_are_those_of_berts_own_classifier(tmp_path: Path) -> None:
    """Its pooler is a dense layer and a hyperbolic tangent between [CLS] and classifier; as identities they are out."""
    folder = scattered(save_bert(tmp_path, kind="BertForSequenceClassification", num_labels=5))
    theirs = transformers.BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    theirs.bert.pooler.dense, theirs.bert.pooler.activation = nn.Identity(), nn.Identity()
    ours = protbert(5, pretrained=str(folder), pool="cls").eval()
    ours.head.out.load_state_dict(theirs.classifier.state_dict())
    with torch.no_grad():
        logits = ours(*batch(SEQUENCES))
        for row, letters in enumerate(SEQUENCES):
            expected = theirs(**inputs_of_theirs(folder, "bert", letters)).logits[0]
            torch.testing.assert_close(logits[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_logits_are_those_of_transformers_classifier_of_tokens(tmp_path: Path, name: str, pool: str) -> None:
    """It is linear on each token's vector: the mean of its logits is the logit of the mean; its first is [CLS]'s.

    (ESM's and T5's own classifiers of sequences have another dense layer and a hyperbolic tangent in their heads.)
    """
    family = NAMES[name]
    if (family, pool) == ("t5", "cls"):
        pytest.skip("T5 has no token before the sequence")
    kind = {"bert": "Bert", "esm": "Esm", "t5": "T5"}[family] + "ForTokenClassification"
    folder = scattered(SAVE[family](tmp_path, kind=kind, num_labels=3))
    theirs = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32).eval()
    ours = create_model(name, num_targets=3, pretrained=str(folder), **({"pool": pool} if pool == "cls" else {})).eval()
    ours.head.out.load_state_dict(theirs.classifier.state_dict())
    with torch.no_grad():
        logits = ours(*batch(SEQUENCES))
        for row, letters in enumerate(SEQUENCES):
            each = theirs(**inputs_of_theirs(folder, family, letters)).logits[0]
            residues = each[:-1] if family == "t5" else each[1:-1]
            assert len(residues) == len(letters)
            expected = each[0] if pool == "cls" else residues.mean(dim=0)
            torch.testing.assert_close(logits[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(NAMES))
def test_the_model_and_the_embedder_know_the_same_of_a_residue(tmp_path: Path, name: str) -> None:
    folder = scattered(SAVE[NAMES[name]](tmp_path))
    model = create_model(name, num_targets=1, pretrained=str(folder)).eval()
    with torch.no_grad():
        vectors, _ = model.features(*batch(SEQUENCES))
    expected = load_backbone(folder)([PROTEIN.encode(letters) for letters in SEQUENCES])
    for row, letters in enumerate(SEQUENCES):
        np.testing.assert_allclose(vectors[row, : len(letters)].numpy(), expected[row], atol=1e-5)


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_soft_letters_give_the_logits_of_their_tokens(name: str, pool: str) -> None:
    if (name, pool) == ("prott5", "cls"):
        pytest.skip("T5 has no token before the sequence")
    model = create_model(name, num_targets=2, **TINY[name], **({"pool": pool} if pool == "cls" else {})).eval()
    tokens, mask = batch(SEQUENCES)
    soft = torch.cat([torch.eye(20), torch.full((1, 20), 1 / 20)])[tokens.long()]
    torch.testing.assert_close(model(soft, mask), model(tokens, mask), atol=1e-5, rtol=1e-5)


PUBLISHED = {
    "protbert": (
        {},
        "BertConfig",
        {"vocab_size": 30, "hidden_size": 1024, "num_hidden_layers": 30, "num_attention_heads": 16}
        | {"intermediate_size": 4096, "max_position_embeddings": 40000},
    ),
    "esm2": (
        {"size": "esm2_t33_650M"},
        "EsmConfig",
        {"vocab_size": 33, "hidden_size": 1280, "num_hidden_layers": 33, "num_attention_heads": 20}
        | {"intermediate_size": 5120, "position_embedding_type": "rotary", "pad_token_id": 1},
    ),
    "prott5": (
        {},
        "T5Config",
        {"vocab_size": 128, "d_model": 1024, "num_layers": 24, "num_heads": 32, "d_kv": 128, "d_ff": 16384},
    ),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_without_a_checkpoint_the_model_is_of_the_published_size(name: str) -> None:
    """All parameters of transformers' encoder but the embedding, of which ours keeps the rows that proteins need."""
    options, config_class, settings = PUBLISHED[name]
    kind = {"protbert": "BertModel", "esm2": "EsmModel", "prott5": "T5EncoderModel"}[name]
    extra = {} if name == "prott5" else {"add_pooling_layer": False}
    with torch.device("meta"):
        model = create_model(name, num_targets=4, **options)
        theirs = getattr(transformers, kind)(getattr(transformers, config_class)(**settings), **extra)
    parts = {key.partition(".")[0]: 0 for key, _ in theirs.named_parameters()}
    for key, parameter in theirs.named_parameters():
        parts[key.partition(".")[0]] += parameter.numel()
    width, rows = theirs.config.hidden_size, settings["vocab_size"]
    whole = sum(parts.values()) - parts.get("contact_head", 0) - rows * width
    special = 1 if name == "prott5" else 2
    expected = whole + (21 + special) * width + 4 * (width + 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    # As the papers count them: 420 million, 650 million, and 1.2 billion in the encoder of T5-XL.
    assert round(expected / 1e7) == {"protbert": 42, "esm2": 65, "prott5": 121}[name]


def make_bundle(model: SequenceClassifier) -> Bundle:
    return Bundle(model.eval(), [Target(f"t{i}") for i in range(model.num_targets)], [1] * model.num_targets)


def adapted(name: str, folder: Path) -> SequenceClassifier:
    """A model of a checkpoint whose adapters have learned something."""
    options = {"lora_rank": 2, "frozen_layers": 1}
    model = create_model(name, num_targets=2, pretrained=str(folder), **options)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.3)
    return model.eval()


def test_bundles_need_neither_checkpoint_nor_peft(tmp_path: Path) -> None:
    tokens, mask = batch(SEQUENCES)
    torch.save((tokens, mask), tmp_path / "input.pt")
    expected = {}
    for name, family in NAMES.items():
        folder = scattered(SAVE[family](tmp_path / f"secret-{family}"))
        model = adapted(name, folder)
        with torch.no_grad():
            expected[name] = model(tokens, mask)
        make_bundle(model).save(tmp_path / name)
        assert model.encoder.arguments["lora_rank"] == 2
        shutil.rmtree(folder)
        config = (tmp_path / name / "config.json").read_text()
        assert "secret" not in config
        assert json.loads(config)["model"]["arguments"]["encoder"]["arguments"]["lora_rank"] is None
    script = (
        "import sys, torch, seqclass\n"
        "sys.modules['peft'] = None\n"
        "batch = torch.load('input.pt')\n"
        "names = sys.argv[1:]\n"
        "with torch.no_grad():\n"
        "    torch.save({name: seqclass.load(name).model(*batch) for name in names}, 'logits.pt')\n"
    )
    subprocess.run([sys.executable, "-c", script, *NAMES], cwd=tmp_path, check=True)
    for name, logits in torch.load(tmp_path / "logits.pt").items():
        torch.testing.assert_close(logits, expected[name], atol=1e-5, rtol=1e-5)


def test_a_bundle_without_its_package_says_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(protbert(2, **TINY["protbert"])).save(tmp_path / "bundle")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r'Run: pip install "seqclass\[transformers\]"'):
        Bundle.load(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_size", "wide"), ("num_hidden_layers", ...), ("hidden_act", "x"), ("code", "import os")]
)
def test_a_damaged_configuration_is_one_error(tmp_path: Path, key: str, value: Any) -> None:
    make_bundle(protbert(2, **TINY["protbert"])).save(tmp_path / "bundle")
    file = tmp_path / "bundle" / "config.json"
    config = json.loads(file.read_text())
    inner = config["model"]["arguments"]["encoder"]["arguments"]["config"]
    inner |= {key: value}
    if value is ...:
        del inner[key]
    file.write_text(json.dumps(config))
    seal(file.parent)
    with pytest.raises(BundleError, match=r"config\.json: the model cannot be built from it"):
        Bundle.load(tmp_path / "bundle")


def test_a_bundle_embeds_residues_or_the_whole(tmp_path: Path) -> None:
    sequences = [PROTEIN.encode(letters) for letters in SEQUENCES]
    for pool in ("mean", "cls"):
        model = protbert(2, pool=pool, **TINY["protbert"]).eval()
        assert list(model.sequence_layers()) == (["embedding", "encoder"] if pool == "mean" else ["embedding"])
        make_bundle(model).save(tmp_path / pool)
        with torch.no_grad():
            vectors, _ = model.features(*batch(SEQUENCES))
        for row, found in enumerate(load_backbone(tmp_path / pool)(sequences)):
            assert found.shape == (len(sequences[row]), 12)
            expected = (
                vectors[row, : len(found)].numpy() if pool == "mean" else vectors[row].numpy().repeat(len(found), 0)
            )
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_precision_is_single_whatever_the_file_has(tmp_path: Path) -> None:
    folder = save_bert(tmp_path)
    file = folder / "model.safetensors"
    save_file({key: value.half() for key, value in load_file(file).items()}, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config))
    assert {value.dtype for value in protbert(1, pretrained=str(folder)).parameters()} == {torch.float32}


def test_frozen_and_adapted_models_train_what_they_should(tmp_path: Path) -> None:
    def free(**options: Any) -> set[str]:
        model = protbert(1, **TINY["protbert"], **options)
        return {name.partition(".default")[0] for name, value in model.named_parameters() if value.requires_grad}

    everything, head = free(), {"head.out.weight", "head.out.bias"}
    assert {"embedding.weight", "encoder.special"} <= everything
    assert free(frozen_layers=2) == head
    assert free(frozen_layers=1) - head == {name for name in everything if "encoder.layer.1." in name}
    layer = "encoder.model.encoder.layer.1.attention.self"
    adapters = {f"{layer}.{part}.lora_{side}" for part in ("query", "value") for side in "AB"}
    assert free(lora_rank=2, frozen_layers=1) - head == adapters


def test_checkpoints_of_another_kind_are_refused(tmp_path: Path) -> None:
    folders = {family: save(tmp_path / family) for family, save in SAVE.items()}
    with pytest.raises(BackboneError, match=r"bert: this is a model of the family 'bert', where 'esm' is expected"):
        create_model("esm2", num_targets=1, pretrained=str(folders["bert"]))
    transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9, eos_token_id=0).save_pretrained(
        tmp_path / "gpt"
    )
    with pytest.raises(BackboneError, match="of the family 'gpt2', where one of"):
        create_model("prott5", num_targets=1, pretrained=str(tmp_path / "gpt"))
    with pytest.raises(BackboneError, match="nothing: no model can be had under this name"):
        create_model("prott5", num_targets=1, pretrained=str(tmp_path / "nothing"))
    with pytest.raises(BackboneError, match="its tokenizer reads"):
        protbert(1, pretrained=str(save_bert(tmp_path / "lower", LETTERS.lower())))


def test_sizes_beside_a_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="layers, width given beside a checkpoint, which has its own"):
        protbert(1, pretrained=str(save_bert(tmp_path)), layers=2, width=SIZE)
    with pytest.raises(AssemblyError, match="size given beside a checkpoint"):
        create_model("esm2", num_targets=1, pretrained=str(tmp_path), size="esm2_t12_35M")


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("esm2", {"size": "esm2_t7_9M"}, UnknownNameError, "no size of ESM-2 'esm2_t7_9M'.*Did you mean esm2_t6_8M"),
        ("protbert", {"alphabet": "dna"}, AssemblyError, "a language model of proteins for dna"),
        ("protbert", {"pool": "median"}, UnknownNameError, "no pooling 'median'"),
        ("protbert", {"heads": 5, "width": 12}, AssemblyError, "not a multiple of the number of attention heads"),
        ("protbert", {"frozen_layers": -1}, AssemblyError, "-1 frozen layers of 2"),
        ("prott5", {"pool": "cls"}, AssemblyError, "prott5 cannot be built so"),
    ],
)
def test_impossible_models_say_why(name: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create_model(name, num_targets=1, **TINY[name] | options)


def test_too_long_a_sequence_is_one_error_naming_both_lengths(tmp_path: Path) -> None:
    for name, family in NAMES.items():
        folder = SAVE[family](tmp_path / name)
        assert load_checkpoint(folder).longest == (None if family == "t5" else LONGEST)
        model = create_model(name, num_targets=1, pretrained=str(folder)).eval()
        assert model(torch.zeros(1, LONGEST, dtype=torch.uint8)).isfinite().all()
        if family == "t5":
            assert model(torch.zeros(1, 100, dtype=torch.uint8)).isfinite().all()
            continue
        with pytest.raises(AssemblyError, match="a sequence of 39 positions, where the encoder takes 38"):
            model(torch.zeros(1, LONGEST + 1, dtype=torch.uint8))
    stem = {"channels": 8, "widths": (8,), "strides": (2,), "expansion": 2, "hidden": 8, "bin": None}
    small = {"layers": 1, "heads": 2, "inner": 8, "positions": 20}
    any_length = wrn_bert(1, **stem, **small, length=None, pool="centre-max").eval()
    with pytest.raises(AssemblyError, match="a sequence of 32 positions, where the encoder takes 20"):
        any_length(torch.zeros(1, 64, dtype=torch.uint8))
    with pytest.raises(AssemblyError, match="64 residues reach the encoder as 32 positions, and it takes 20"):
        wrn_bert(1, **stem, **small, length=64)


def test_the_dna_family_with_bert_is_stem_then_bert_then_head() -> None:
    """The same as transformers' BertModel on the stem's vectors, side by side with them, in the head."""
    stem = {"channels": 8, "widths": (8, 16), "strides": (2, 2), "expansion": 2, "hidden": 8}
    model = wrn_bert(3, **stem, length=64, layers=2, heads=4, inner=24, positions=16).eval()
    settings = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    config = transformers.BertConfig(**settings, max_position_embeddings=16, type_vocab_size=1)
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    own = {key.removeprefix("encoder.model."): value for key, value in model.state_dict().items()}
    theirs.load_state_dict(own, strict=False)
    tokens = torch.randint(4, (5, 64), dtype=torch.uint8)
    with torch.no_grad():
        x, _ = model.stem(*model.embedding(tokens))
        expected = model.head(torch.cat([x, theirs(inputs_embeds=x).last_hidden_state], dim=-1))
        torch.testing.assert_close(model(tokens), expected, atol=1e-5, rtol=1e-5)


def test_a_protein_that_is_too_long_is_named_before_it_is_scored() -> None:
    model = create_model("protbert", num_targets=2, layers=1, width=16, heads=2, inner=16, positions=34)
    bundle = Bundle(model, [Target("a"), Target("b")], [1, 1])
    assert model.longest == 32
    named = [("short", "A" * 32), ("long", "A" * 33)]
    with pytest.raises(SequenceError, match="'long': 33 residues, where the model's attention takes at most 32"):
        list(predict(bundle, named))
