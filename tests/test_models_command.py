"""`seqclass models`: what a person sees of the models at the terminal."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import yaml
from rich.console import Console

from seqclass import terminal
from seqclass.cli import main
from seqclass.models import create_model, get_model, list_models, model_options
from seqclass.models.summary import summarise

Shown = Callable[..., str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """What a command prints into a pipe, or with `width` on a terminal of so many columns."""

    def shown(*words: str, width: int | None = None) -> str:
        with pytest.MonkeyPatch.context() as patch:
            if width is not None:
                patch.setattr(
                    terminal, "Console", lambda **options: Console(width=width, force_terminal=True, **options)
                )
                patch.setenv("NO_COLOR", "1")
                patch.setenv("TERM", "dumb")
            main(["models", *words])
        return capsys.readouterr().out

    return shown


def test_every_model_is_listed_with_what_it_is(shown: Shown) -> None:
    lines = shown("list").splitlines()
    assert [line.split()[0] for line in lines] == list_models()
    for line in lines:
        name, words = line.split(maxsplit=1)
        assert words.strip() == (inspect.getdoc(get_model(name)) or "").split("\n")[0]
        assert words.strip().endswith(".")


def test_a_pattern_chooses_models(shown: Shown) -> None:
    assert [line.split()[0] for line in shown("list", "wrn_*").splitlines()] == list_models("wrn_*")


@pytest.mark.parametrize("name", list_models())
def test_show_prints_each_stage_and_each_option_that_fit_takes(shown: Shown, name: str) -> None:
    lines = [line.split() for line in shown("show", name, "--num-targets", "7").splitlines() if line.strip()]
    with torch.device("meta"):
        stages = summarise(create_model(name, num_targets=7))
    for stage in stages:
        shape = [] if stage.shape is None else " x ".join(f"{size:,}" for size in stage.shape).split()
        row = [stage.kind, *shape, f"{stage.parameters:,}", f"{stage.flops:,}"]
        last = [word for word in stage.name.split(".") if not word.isdigit()][-1] or "whole"
        assert any(line[-len(row) :] == row and line[0].split(".")[0] == last for line in lines)
    options = [line for line in lines if line[0].startswith("--model.")]
    printed = {line[0].removeprefix("--model."): yaml.safe_load(" ".join(line[1:])) for line in options}
    assert len(lines) == len(stages) + len(options) + 4

    arguments = inspect.signature(get_model(name)).parameters
    assert set(printed) == set(arguments) - {"num_targets", "alphabet", "length", "bin", "vector_size", "exclusive"}
    assert set(printed) == set(model_options(name))
    for option, default in printed.items():
        usual = arguments[option].default
        assert default == (list(usual) if isinstance(usual, tuple) else usual)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("words", [("list",), ("show", "wrn_transformer_xl"), ("show", "prott5"), ("show", "protenn")])
def test_nothing_is_cut_off_on_a_terminal(shown: Shown, words: tuple[str, ...], width: int) -> None:
    printed, whole = shown(*words, width=width), shown(*words)
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    letters, other = (sorted("".join(text.replace("─", "").split())) for text in (printed, whole))
    assert letters == other


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "deapsea"), "Did you mean deepsea"),
        (("show", "deepsea", "--length", "50"), "at least 163"),
        (("show", "deepsea", "--length", "0"), "0 residues"),
        (("show", "protcnn", "--length", "-5"), "a sample of -5 residues"),
        (("show", "wrn", "--num-targets", "0"), "0 targets"),
        (("show", "wrn", "--alphabet", "rna"), "rna"),
        (("show", "protbert", "--alphabet", "dna"), "Choose a model of DNA"),
        (("list", "nothing*"), "no model matches 'nothing*'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", *words])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert told in printed.err
    assert printed.err.count("\n") == 1


def test_help_loads_no_torch() -> None:
    script = "import sys; from seqclass.cli import main\ntry: main(['models', '--help'])\nfinally: print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "make one bundle of several" in ended.stdout
    assert not {"torch", "transformers", "pytorch_lightning", "seqclass.models"} & set(ended.stdout.split())
