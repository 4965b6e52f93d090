"""The documentation does what it says: every command and every example on every page, in the order of the page."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from doc_files import Stock
from doc_pages import PYTHON, ROOT, SHELL, Block, find_pages, read_blocks
from warm_commands import warm_commands

LANGUAGES = {SHELL, PYTHON, "text", "yaml", "json"}
MINUTES = 2
# Commands of a row of scores need its real data; those of the other pages run here.
PAGES = [path for path in find_pages() if path.parent in (ROOT, ROOT / "docs")]


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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_runs_from_top_to_bottom(
    page: Path, stock: Stock, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [block for block in read_blocks(page) if block.language in (SHELL, PYTHON) and not block.not_run]
    stock.lay_out([block.code for block in blocks], tmp_path)
    for part in ("experiments", "docs", "benchmarks"):
        (tmp_path / part).symlink_to(ROOT / part)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        printed = _run_python(block, names) if block.language == PYTHON else _run_shell(block, programs, tmp_path)
        if block.printed is not None:
            assert _alike(printed, block.printed), f"{block.place} prints\n{printed}"


def _run_shell(block: Block, programs: Path, folder: Path) -> str:
    ended = run_shell(block.code, folder, programs)
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
