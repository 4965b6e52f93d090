"""The notebooks: in step with their sources, small, clean, and true when they are run again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))

# What the last cell says, which follows from what was planted in the data; in parentheses a number, and its range.
PLANTED = {
    "01_data_preparation": (r"agree with the planted sites: ([\d.]+)%", 100, 100),
    "02_looking_at_data": (r"slope of the tail: (-[\d.]+)", -1.1, -0.9),
    "03_designing_a_model": (r"parameters of the original DNA model: ([\d,]+)", 39_286_287, 39_286_287),
    "04_training": (r"average precision ([\d.]+) on the test split, where chance gives 0.21", 0.6, 1),
    "05_evaluation_and_interpretation": (r"harder group: heat shock\nmutagenesis .* AUROC ([\d.]+)", 0.9, 1),
    "06_protein_families": (r"ensemble: accuracy ([\d.]+)", 0.6, 1),
    "07_fine_tuning": (r"frozen: .* as it was: True\neverything: .* as it was: (?:False)()", 0, 0),
    "08_variant_effects": (r"destroyed against untouched sites: AUROC ([\d.]+)", 0.8, 1),
    "09_your_own_data": (r"test accuracy ([\d.]+), where 0.12 is chance", 0.6, 1),
}


@pytest.fixture(scope="module")
def making() -> ModuleType:
    """The script that makes notebooks of their sources."""
    for package in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("notebooks_execute", NOTEBOOKS / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kept(source: Path) -> dict:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def outputs(notebook: dict) -> list[dict]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", ())]


def text(output: dict) -> str:
    return output.get("text", "") + "".join(
        output.get("data", {}).get(kind, "") for kind in ("text/plain", "text/html")
    )


def last_words(notebook: dict) -> str:
    return "".join(text(output) for output in notebook["cells"][-1]["outputs"])


def check_planted(name: str, said: str) -> None:
    pattern, low, high = PLANTED[name]
    found = re.search(pattern, said)
    assert found, said
    assert low <= float(found[1].replace(",", "") or 0) <= high, said


def test_there_are_nine_notebooks_each_with_a_planted_fact_and_a_line_in_the_readme() -> None:
    assert [source.stem for source in SOURCES] == list(PLANTED)
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == list(PLANTED)
    linked = re.findall(r"\]\((\w+)\.ipynb\)", (NOTEBOOKS / "README.md").read_text(encoding="utf-8"))
    assert linked == list(PLANTED)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_has_the_cells_of_its_source(source: Path, making: ModuleType) -> None:
    def cells(notebook: dict) -> list[tuple[str, str, str]]:
        return [(cell["id"], cell["cell_type"], cell["source"]) for cell in notebook["cells"]]

    assert cells(kept(source)) == cells(making.read(source))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_top_to_bottom_and_kept_what_it_showed(source: Path) -> None:
    notebook = kept(source)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len(outputs(notebook)) >= 5
    check_planted(source.stem, last_words(notebook))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_what_a_notebook_shows_is_clean_and_small(source: Path) -> None:
    assert source.with_suffix(".ipynb").stat().st_size < 1_000_000
    shown = outputs(kept(source))
    assert not [output for output in shown if output["output_type"] == "error"]
    assert not [output for output in shown if output.get("name") == "stderr"]
    words = "\n".join(map(text, shown))
    for litter in (
        r"Traceback",
        r"Warning",
        r"\berror:",
        r"(?<![\w./])/(?:tmp|home|root|usr|work|var)/",
        r"it/s\]",
        "\x1b",
    ):
        assert not re.search(litter, words), re.search(f".*{litter}.*", words)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_runs_on_a_clean_kernel_and_finds_what_was_planted(
    source: Path, making: ModuleType, tmp_path: Path
) -> None:
    notebook = making.read(source)
    making.execute(notebook, tmp_path)
    check_planted(source.stem, last_words(notebook))
    assert not [output for output in outputs(notebook) if re.search(r"\berror:", text(output))]
    assert not list(tmp_path.iterdir()), "a notebook works in a folder of its own"
