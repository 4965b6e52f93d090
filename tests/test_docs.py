"""The documentation does what it says: every command and every example on every page, in the order of the page."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from doc_files import Stock
from doc_pages import PYTHON, ROOT, SHELL, Block, find_pages, read_anchors, read_blocks, read_code_spans, read_links
from warm_commands import warm_commands

from seqclass import __version__
from seqclass.alphabets import PROTEIN
from seqclass.blocks import LinearHead, MaxPool, OneHotEmbedding, ProtCNNStem, base
from seqclass.bundle import Bundle
from seqclass.cli.main import command_parser, main
from seqclass.data.tape import read_samples
from seqclass.models import SequenceClassifier, create_model, model_options, registry
from seqclass.targets import Target
from seqclass.training import run_experiment

RUN = {SHELL, PYTHON}
LANGUAGES = RUN | {"text", "yaml"}


def runnable(page: Path) -> list[Block]:
    """The blocks of a page that run here."""
    return [block for block in read_blocks(page) if block.language in RUN and not block.not_run]


MINUTES = 8  # for one block; a busy machine takes its time
ALL_PAGES = find_pages()
BLOCKS = [block for path in ALL_PAGES for block in read_blocks(path)]
# Commands behind a row of scores need its real data; those of the other pages run here.
PAGES = [path for path in ALL_PAGES if path.parent in (ROOT, ROOT / "docs") and runnable(path)]
PORT = 18080 + os.getpid() % 1000  # others may use the one of the page
HANDED_ON = ("fit", "lr-find", "pretrain", "cross-validate", "sweep")
OF_OTHERS = {"--fast", "--hits", "--user", "--build-arg"}  # of experiments and of Docker
MODEL = "protcnn_small"  # stands for the one that a configuration file names


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run_shell(code: str, folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Runs lines in a folder as a shell does, up to the first that fails."""
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = ["bash", "-e", "-o", "pipefail", "-c", code]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60 * MINUTES)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with warm_commands(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Stock:
    return Stock(tmp_path_factory.mktemp("stock"), lambda line, folder: run_shell(line, folder, programs))


# What can be said without running anything


def test_every_block_is_of_a_known_language_and_those_not_run_say_why() -> None:
    for block in BLOCKS:
        is_directive = block.language.startswith("{")
        assert block.language in LANGUAGES or is_directive, f"{block.place}: fence it as one of {LANGUAGES}"
        assert block.not_run is None or len(block.not_run.split()) >= 2, f"{block.place}: say why it is not run"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == PYTHON], ids=lambda block: block.place)
def test_python_is_of_this_library(block: Block) -> None:
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "seqclass":
            module = importlib.import_module(str(node.module))
            assert not {name.name for name in node.names} - set(dir(module)), f"{block.place}: {ast.unparse(node)}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda block: block.place)
def test_yaml_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.code)


def commands(block: Block, program: str = "seqclass") -> Iterator[list[str]]:
    """The words of each of a block's commands from the program's name on, whatever starts it."""
    for line in block.code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = list(lexer)
        for start, word in enumerate(words):
            if re.fullmatch(program, word):
                end = next((i for i in range(start, len(words)) if set(words[i]) <= set("|&;<>")), len(words))
                yield words[start:end]


@functools.cache
def helps(command: str, model: str) -> str:
    """What `seqclass COMMAND --model MODEL --help` prints."""
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        main([command, "--model", model, "--help"])
    return printed.getvalue()


COMMANDS = [
    pytest.param(words[1:], id=f"{block.place} {' '.join(words[1:4])}")
    for block in BLOCKS
    if block.language == SHELL
    for words in commands(block)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_have_the_options_that_they_are_given(words: list[str]) -> None:
    if {"--help", "--version"} & set(words):
        return
    options, rest = command_parser().parse_known_args(words)
    if words[0] not in HANDED_ON:
        assert not rest
        return
    known = helps("fit" if words[0] == "sweep" else words[0], options.model or MODEL)
    known += "--space --trials --storage" if words[0] == "sweep" else ""
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{' '.join(words)}: there is no {word}"


def every_help(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a parser and of all commands below it."""
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from every_help(command)


def test_options_that_sentences_name_are_there() -> None:
    texts = [*every_help(command_parser()), *(helps(command, MODEL) for command in HANDED_ON if command != "sweep")]
    texts += [helps("fit", model) for model in ("wrn_transformer_xl", "esm2")]
    known = set(re.findall(r"--[\w.]+(?:-[\w.]+)*", " ".join(texts))) | OF_OTHERS
    for page in ALL_PAGES:
        for line, span in read_code_spans(page):
            if span.startswith(("--", "seqclass ", *HANDED_ON)):
                named = set(re.findall(r"(?<!\S)--[\w.]+(?:-[\w.]+)*", span))
                assert not named - known, f"{page.relative_to(ROOT)}:{line}: {named - known}"


@functools.cache
def script_helps(script: str, command: str) -> str:
    """What `python SCRIPT COMMAND --help` prints, of an experiment that trains a classifier."""
    model = runpy.run_path(str(ROOT / script))["model"]
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        run_experiment(model, name="experiment", arguments=[command, "--help"])
    return printed.getvalue()


def test_experiments_that_pages_run_have_the_options_that_they_are_given() -> None:
    found = [(block, words) for block in BLOCKS if block.language == SHELL for words in commands(block, r"\w+/\w+\.py")]
    assert len(found) > 5
    for block, (script, *words) in found:
        assert (ROOT / script).is_file(), f"{block.place}: {script}"
        if "run_experiment(model" in (ROOT / script).read_text():
            known = script_helps(script, words[0])
            unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
            assert not set(unknown) - {"--fast"}, f"{block.place}: {script} has no {unknown}"


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_id)
def test_no_link_is_dead(page: Path) -> None:
    for line, target in read_links(page):
        place = f"{page.relative_to(ROOT)}:{line}: {target}"
        scheme, _, rest = target.partition(":")
        if scheme in ("http", "https", "mailto"):
            assert re.fullmatch(r"//[\w.-]+\.[a-z]+(:\d+)?([/#?]\S*)?", rest) or "127.0.0.1" in rest, place
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), place
        assert file.is_relative_to(ROOT), place
        assert not anchor or anchor in read_anchors(file), place


def test_the_numbers_of_the_readme_are_those_of_the_experiments() -> None:
    table = (ROOT / "README.md").read_text().split("## Measured")[1].split("## ")[0]
    numbers = set(re.findall(r"(?<![\w.])\d?\.\d+", table))
    assert len(numbers) > 10
    measured = (ROOT / "experiments" / "README.md").read_text()
    assert not {number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", measured)}


def test_the_model_zoo_is_that_of_the_registry() -> None:
    generator = runpy.run_path(str(ROOT / "docs" / "model_zoo.py"))
    assert generator["page"]() == generator["PAGE"].read_text(), "run python docs/model_zoo.py"


def test_the_version_is_told_alike_everywhere() -> None:
    assert f'version="{__version__}"' in (ROOT / "setup.py").read_text()
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text().replace("[", "").replace("]", "")


def test_continuous_integration_runs_what_a_merge_must_pass() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["run"]["steps"] if "run" in step] == [".ci/run"]


def test_hooks_check_what_make_lint_checks() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {" ".join(hook["entry"].removeprefix(".venv/bin/").split()[:2]) for hook in config["repos"][0]["hooks"]}
    recipe = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    assert {" ".join(word.split()[:2]) for word in re.findall(r"\$\(BIN\)/(.+)", recipe)} == {
        hook.removesuffix(" --force-exclude") for hook in hooks
    }


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY")).split()[1:]
    assert set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) == set(phony)


@pytest.mark.parametrize("name", ["add_block", "add_model", "add_source", "add_experiment"])
def test_what_is_to_be_added_takes_less_than_thirty_lines(name: str) -> None:
    assert len((ROOT / "docs" / f"{name}.md").read_text().splitlines()) < 30


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pages register by name is gone after each test."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(base, "_BLOCKS", dict(base._BLOCKS))


def written(name: str) -> dict[str, Any]:
    """What the first example of a page defines."""
    names: dict[str, Any] = {"__name__": name}
    exec(next(block.code for block in read_blocks(ROOT / "docs" / f"{name}.md") if block.language == PYTHON), names)
    return names


def test_a_block_written_after_the_page_goes_into_a_bundle_and_comes_back(tmp_path: Path) -> None:
    encoder = written("add_block")["GatedLinear"](16)
    head = LinearHead(16, 3, MaxPool())
    model = SequenceClassifier(
        OneHotEmbedding("protein"), ProtCNNStem(20, 16, 8, 9, (1,)), encoder, head, None, "protein"
    )
    Bundle(model.eval(), [Target(name) for name in "abc"], [1, 1, 1]).save(tmp_path / "bundle")
    sequences = ["MKTAYIAKQR", "MKTAYIAKQRQISFVKSHFSRQ"]
    tokens = [torch.from_numpy(PROTEIN.encode(sequence).copy())[None] for sequence in sequences]
    back = Bundle.load(tmp_path / "bundle").model
    assert all(torch.equal(back(each), model(each)) for each in tokens)


def test_a_model_written_after_the_page_is_known_by_its_name() -> None:
    written("add_model")
    model = create_model("shallow_protcnn", num_targets=4, channels=16)
    assert model(torch.zeros(2, 30, dtype=torch.long)).shape == (2, 4)
    assert model_options("shallow_protcnn") == {"channels": 64}


def test_a_source_written_after_the_page_makes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("P1 MKTAYIA Nucleus\nP2 MKV Cytoplasm\n")
    store = written("add_source")["import_swissprot_lines"](path, tmp_path / "lines.h5")
    assert [target.name for target in store.targets] == ["Cytoplasm", "Nucleus"]
    assert PROTEIN.decode(read_samples(store, [0])[0][0]) == "MKTAYIA"


# Running it all


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_page_runs_from_top_to_bottom(
    page: Path,
    stock: Stock,
    programs: Path,
    serve: Callable[[Block], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = runnable(page)
    stock.lay_out([block.code for block in blocks], tmp_path)
    for part in ("experiments", "docs", "benchmarks"):
        (tmp_path / part).symlink_to(ROOT / part)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        if block.code.startswith("seqclass serve"):
            serve(block)
            continue
        if file := re.match(r"# (\w+\.py)\n", block.code):
            Path(file[1]).write_text(block.code)
            continue
        printed = _run_python(block, names) if block.language == PYTHON else _run_shell(block, programs, tmp_path)
        if block.printed is not None:
            assert _alike(printed, block.printed), f"{block.place} prints\n{printed}"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Block], None]]:
    """Starts the service of a block, which goes on while the rest of its page asks it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(block: Block) -> None:
        words = next(commands(block))[1:]
        with open(tmp_path / "service.log", "wb") as log:
            command = [sys.executable, "-m", "seqclass", *words[:-1], str(PORT)]
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log))
        ready = f"curl --fail --silent --retry 60 --retry-delay 1 --retry-all-errors localhost:{PORT}/health/ready"
        subprocess.run(ready.split(), check=True, capture_output=True)

    yield start
    for process in started:
        process.terminate()
        process.wait()


def _run_shell(block: Block, programs: Path, folder: Path) -> str:
    ended = run_shell(block.code.replace("localhost:8080", f"localhost:{PORT}"), folder, programs)
    assert ended.returncode == 0, f"{block.place} ends with {ended.returncode}:\n{block.code}\n{ended.stderr[-3000:]}"
    return ended.stdout


def _run_python(block: Block, names: dict[str, object]) -> str:
    lines = "\n" * (block.line - 1)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(lines + block.code, block.page, "exec"), names)
    return printed.getvalue()


def _alike(printed: str, shown: str) -> bool:
    """Whether the words are the same, and numbers within a tenth: processors differ in the last digits of training."""
    number = re.compile(r"\d+\.\d+")
    same = number.sub("#", printed).split() == number.sub("#", shown).split()
    pairs = zip(number.findall(printed), number.findall(shown), strict=True) if same else ()
    return same and all(abs(float(one) - float(other)) <= 0.1 * max(1, abs(float(other))) for one, other in pairs)
