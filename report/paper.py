"""Builds project_report.pdf from experiments/results/: figures, tables and every number in the text come from there.

python report/paper.py [--out project_report.pdf]
"""

import argparse
import hashlib
import json
import runpy
import tempfile
from pathlib import Path
from typing import Any

import tables
import torch
import typst
from figures import draw_all

from seqclass.atomic import atomic_file
from seqclass.errors import SeqclassError
from seqclass.models import Classifier, create_model, list_models
from seqclass.models.summary import Stage, summarise

HERE = Path(__file__).parent
PAPER_TABLES = {
    "overview": tables.overview_of_scores,
    "commands": tables.commands,
    "demo": tables.demo,
    "attribution": tables.attribution,
}
# Stages whose parts are many and alike are told as one.
ALIKE = ("encoder",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=tables.ROOT / "project_report.pdf")
    options = parser.parse_args()
    try:
        paper = build()
    except SeqclassError as error:
        parser.error(str(error))
    with atomic_file(options.out, force=True) as partial:
        partial.write_bytes(paper)
    print(f"wrote {options.out}")


def build(format: str = "pdf") -> Any:
    """The paper as PDF, or with `format="png"` as a list of its pages.

    Raises:
        SeqclassError: The source asks for a value that no result file has, or for a figure that is not there.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in sources():
            if source.suffix in (".typ", ".bib"):
                (folder / source.name).write_bytes(source.read_bytes())
        found = tables.results()
        draw_all(folder, found)
        (folder / "values.json").write_text(json.dumps(values(found), allow_nan=False), encoding="utf-8")
        try:
            return typst.compile(
                folder / "report.typ",
                root=folder,
                format=format,
                ppi=70,
                ignore_system_fonts=True,
                sys_inputs={"digest": digest()},
            )
        except typst.TypstError as error:
            remedy = "Correct report/report.typ, or keep the result it names with report/keep.py"
            raise SeqclassError(f"the paper does not build: {error.message}", remedy=remedy) from None


def sources() -> list[Path]:
    """All files that the paper follows from, but for the library itself."""
    return sorted([*HERE.glob("*.typ"), *HERE.glob("*.bib"), *HERE.glob("*.py"), *tables.RESULTS.glob("*.json")])


def digest() -> str:
    """Of the sources and the result files; stands among the keywords of the paper that was made from them."""
    told = hashlib.sha256()
    for source in sources():
        told.update(f"{source.relative_to(tables.ROOT).as_posix()}\n".encode())
        told.update(source.read_bytes())
    return told.hexdigest()


def values(found: tables.Results) -> dict[str, Any]:
    """What the paper's text and tables may ask for."""
    made = {name: make(found) for name, make in {**tables.TABLES, **PAPER_TABLES}.items()}
    return {
        **found,
        "ablation": tables.ablation_figures(found),
        "best_epoch": {"yeast_chip_exo": best_epoch(found["yeast_chip_exo"]["curves"]["valid/average_precision"])},
        "attribution": {row["method"]: row for row in found["demo"]["benchmark"]["methods"]},
        "comparisons": {
            name: {f"{each['metric']}, {each['second']}": each for each in run["test"]["comparisons"]}
            for name, run in found.items()
            if "test" in run
        },
        "models": {name: described(model, length) for name, (model, length) in shown_models().items()},
        "registered": {"models": len(list_models())},
        "tables": {name: {"header": table.header, "rows": table.rows} for name, table in made.items()},
    }


def best_epoch(points: list[list[float]]) -> int:
    return 1 + max(range(len(points)), key=lambda epoch: points[epoch][2])


def shown_models() -> dict[str, tuple[Classifier, int]]:
    """The models of the paper, each with the length of a sample; none holds any weights."""
    scripts = tables.ROOT / "experiments"
    with torch.device("meta"):
        return {
            "original": (create_model("wrn_transformer_xl", num_targets=919, length=1000), 1000),
            "protcnn": (create_model("protcnn", num_targets=17929), 155),
            "yeast": (runpy.run_path(str(scripts / "yeast_chip_exo.py"))["model"](251, bin=200), 1000),
            "pfam": (runpy.run_path(str(scripts / "pfam_protcnn.py"))["model"](400), 155),
        }


def described(model: Classifier, length: int) -> dict[str, Any]:
    """A model's stages as `summarise` tells them, those that do the work, and the whole."""
    stages = summarise(model, length)
    whole = stages.pop()
    inner = {stage.name.partition(".")[0] for stage in stages if "." in stage.name}
    told = [stage for stage in stages if is_told(stage, inner)]
    return {
        "length": length,
        "parameters": whole.parameters,
        "flops": whole.flops,
        "targets": model.num_targets,
        "layers": sum(stage.name.startswith("encoder.layers.") for stage in stages),
        "stages": [stage._asdict() for stage in told],
    }


def is_told(stage: Stage, inner: set[str]) -> bool:
    outer, _, part = stage.name.partition(".")
    if outer in ALIKE or outer == "embedding":
        return not part
    return stage.flops > 0 and (bool(part) or outer not in inner)


if __name__ == "__main__":
    main()
