"""Makes each notebook of its source: NN_name.py, in jupytext's percent format, becomes NN_name.ipynb with its outputs.

A notebook runs on a kernel of its own, from top to bottom, in an empty folder.

    python notebooks/execute.py                    # all
    python notebooks/execute.py 04_training.py     # some
"""

import base64
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

from seqclass.atomic import write_text

FOLDER = Path(__file__).resolve().parent
_CELL_SECONDS = 300
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m|\r(?=\n)")


def sources() -> list[Path]:
    """The notebooks' sources, in their order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def read(source: Path) -> nbformat.NotebookNode:
    """The cells of a source, without outputs; the same ids each time, so that only what changed differs."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02}"
    return notebook


def execute(notebook: nbformat.NotebookNode, folder: str | Path) -> None:
    """Runs a notebook and puts the outputs into it.

    Args:
        notebook: As `read` gives it.
        folder: Where the kernel starts.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    client = NotebookClient(
        notebook,
        timeout=_CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=40"],
    )
    # What a cell calls by name, such as `seqclass`, is this environment's.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Of ipywidgets, whose progress bars nothing here shows.
    quiet = "ignore:IProgress not found"
    client.execute(env=os.environ | {"PATH": path, "PYTHONWARNINGS": quiet})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            _clean(output)
            _shrink(output)
    # The kernel's version is this machine's.
    notebook.metadata.pop("language_info", None)


def _clean(output: nbformat.NotebookNode) -> None:
    """Takes terminals' colours and line ends out of text."""
    for holder, key in ((output, "text"), (output.get("data", {}), "text/plain")):
        if key in holder:
            holder[key] = _TERMINAL.sub("", holder[key])


def _shrink(output: nbformat.NotebookNode) -> None:
    """Gives a picture a palette of 256 colours, of which a chart has fewer, so that the notebook stays small."""
    data = output.get("data", {})
    if "image/png" in data:
        file = BytesIO()
        picture = Image.open(BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        data["image/png"] = base64.b64encode(file.getvalue()).decode()


def main(names: Sequence[str]) -> None:
    for source in [FOLDER / Path(name).name for name in names] or sources():
        notebook = read(source)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, folder)
        write_text(source.with_suffix(".ipynb"), nbformat.writes(notebook) + "\n", force=True)


if __name__ == "__main__":
    main(sys.argv[1:])
