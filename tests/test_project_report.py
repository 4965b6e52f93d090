"""The paper and the tables of measured scores: all of it from the result files, and nothing typed."""

import csv
import importlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keep
import numpy as np
import pytest
import tables
from matplotlib.image import imread

from seqclass.errors import SeqclassError

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "project_report.pdf"
NEEDS_TYPST = "the paper is set by typst: pip install 'seqclass[report]'"


@pytest.fixture(scope="module")
def paper():
    pytest.importorskip("typst", reason=NEEDS_TYPST)
    return importlib.import_module("paper")


@pytest.fixture(scope="module")
def typeset(paper, tmp_path_factory):
    """The paper built anew, with its text as a PDF reader sees it."""
    if shutil.which("pdftotext") is None:
        pytest.skip("the text of a PDF is read by poppler: install poppler-utils")
    path = tmp_path_factory.mktemp("paper") / "paper.pdf"
    path.write_bytes(paper.build())
    text = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout
    return path, text


def test_the_tables_of_the_experiments_page_are_those_of_the_result_files():
    page = tables.README.read_text(encoding="utf-8")
    assert tables.filled(page, tables.results()) == page
    assert set(re.findall(r"<!-- table (\S+) -->", page)) == set(tables.TABLES)
    inside = re.sub(r"<!-- table .*?<!-- end -->", "", page, flags=re.DOTALL)
    assert not re.search(r"^\|.*\d\.?\d", inside.split("## Ready, not run")[0], flags=re.MULTILINE)


def test_a_table_that_is_not_known_is_refused():
    with pytest.raises(SeqclassError, match="no table is named 'guesses'"):
        tables.filled("<!-- table guesses -->\n<!-- end -->", tables.results())


@pytest.mark.parametrize(
    ("value", "digits", "told"),
    [(0.9152, 3, ".915"), (0.99996, 3, "1.000"), (-0.00001, 2, ".00"), (-0.0412, 3, "-.041")],
)
def test_scores_are_printed_without_the_zero_before_the_point(value, digits, told):
    assert tables.score(value, digits) == told


def test_the_ablation_has_the_mean_and_deviation_of_three_seeds():
    found = tables.results()
    runs = [found[f"yeast_ablation-bilstm-{seed}"]["test"]["scores"]["model"] for seed in range(3)]
    values = [run["average_precision"]["mean"] for run in runs]
    own = tables.ablation_figures(found)["bilstm"]["average_precision"]
    mean = sum(values) / 3
    assert own["mean"] == pytest.approx(mean)
    assert own["sd"] == pytest.approx((sum((value - mean) ** 2 for value in values) / 2) ** 0.5)


@pytest.mark.parametrize("name", ["speed", "attribution", "mutagenesis"])
def test_benchmarks_of_the_paper_are_those_of_the_docs(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    kept = tables.results()[f"documented-{name}"]
    found = keep.keep_documented(Path("docs") / f"{name}.md")
    assert {key: kept[key] for key in found} == found


def test_result_files_name_no_folder_of_a_machine():
    for path in sorted(tables.RESULTS.glob("*.json")):
        assert not re.search(r"/(tmp|home|work|root|mnt|opt)/", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("/a/b/experiments/deeploc.py fit --data.store /a/d.h5", "python experiments/deeploc.py fit --data.store d.h5"),
        ("/a/seqclass/__main__.py fit --model wrn", "seqclass fit --model wrn"),
        ("/a/.venv/bin/seqclass evaluate runs/x s.h5", "seqclass evaluate runs/x s.h5"),
    ],
)
def test_commands_are_kept_without_the_folders_of_a_machine(told, kept):
    assert keep.portable(told) == kept


def test_a_printed_table_is_kept_with_what_was_said_before_it(tmp_path):
    log = tmp_path / "log"
    log.write_text("12 variants\nname\ta\tb\tshare\nx\t1\t-\t0.50 [0.40, 0.60]\ny\tis no target\n")
    kept = keep.keep_printed(log, "python script.py")
    assert kept["said"] == ["12 variants"]
    assert kept["rows"] == [["x", 1.0, "-", "0.50 [0.40, 0.60]"]]
    log.write_text("nothing\n")
    with pytest.raises(SeqclassError, match="no line holds a table's header"):
        keep.keep_printed(log, "python script.py")


def test_the_source_of_the_paper_holds_no_number():
    source = (ROOT / "report" / "report.typ").read_text(encoding="utf-8")
    body = source.split("*Abstract.*")[1].split("#bibliography")[0]
    # What is set by code, and what names a column or a piece of code, is not prose.
    for taken in (r'"[^"]*"', r"`[^`]*`", r"@\w[\w-]*", r"<[\w-]+>", r"digits: \d", r"columns: (\([^)]*\)|\d)"):
        body = re.sub(taken, " ", body)
    for taken in (r"(size|width): [\d.]+(pt|%)", r"(column-gutter|left-columns|which): [\w.]+", r"#grid.*?\)"):
        body = re.sub(taken, " ", body)
    assert re.findall(r"(?<![\w.])(?:\d*\.\d+|\d{2,})", body) == []


def test_a_value_that_no_result_file_has_ends_the_build(paper, tmp_path):
    (tmp_path / "values.json").write_text(json.dumps({"run": {"score": 0.5, "lost": None}}))
    shutil.copy(ROOT / "report" / "style.typ", tmp_path)
    document = tmp_path / "d.typ"
    for asked, complaint in (("run/scores", "there is no scores"), ("run/lost", "has no value")):
        document.write_text(f'#import "style.typ": *\n#s("{asked}")\n')
        with pytest.raises(paper.typst.TypstError, match=complaint):
            paper.typst.compile(document, root=tmp_path)
    document.write_text('#import "style.typ": *\n#s("run/score")\n')
    assert paper.typst.compile(document, root=tmp_path).startswith(b"%PDF")


def test_the_committed_paper_is_of_the_committed_results(paper):
    assert paper.digest().encode() in COMMITTED.read_bytes(), "Build it anew: make report"


@pytest.mark.slow
def test_the_paper_has_8_to_14_pages_none_of_them_nearly_empty(paper):
    pages = [imread(io.BytesIO(page)) for page in paper.build("png")]
    assert 8 <= len(pages) <= 14
    for page in pages:
        rows = (page[..., :3].mean(axis=2) < 0.9).any(axis=1)
        assert rows.mean() > 0.3


@pytest.mark.slow
def test_the_text_of_the_paper_is_whole(typeset):
    path, text = typeset
    assert not re.search(r"\?\?|\bnan\b|\binf\b|\bNone\b|#\w+\(", text)
    for kind, least in (("Figure", 8), ("Table", 20)):
        captions = {int(number) for number in re.findall(rf"{kind} (\d+):", text)}
        assert captions == set(range(1, len(captions) + 1))
        assert len(captions) >= least
        assert {int(number) for number in re.findall(rf"{kind} (\d+)", text)} == captions
    scores = tables.results()["yeast_chip_exo"]["test"]["scores"]["model"]
    assert tables.score(scores["average_precision"]["mean"]) in text.split("1 Problem")[0]
    # A figure brings a font of its own.
    fonts = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout
    assert "DejaVuSans" in fonts


@pytest.mark.slow
def test_equal_results_give_an_equal_paper(paper):
    assert paper.build() == paper.build()


@pytest.mark.slow
def test_a_run_is_kept_with_the_scores_of_its_report(tmp_path, monkeypatch):
    script = ROOT / "experiments" / "beta_lactamase_protcnn.py"
    subprocess.run([sys.executable, script, "fit", "--fast"], cwd=tmp_path, check=True, capture_output=True)
    run, out = tmp_path / "runs" / "beta_lactamase_protcnn-fast", tmp_path / "kept.json"
    told = ["keep.py", "run", str(run), "--hardware", "one core", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", told)
    keep.main()
    kept, metrics = json.loads(out.read_text()), json.loads((run / "report" / "metrics.json").read_text())
    (group,) = metrics["accuracy"]
    for scorer, own in kept["test"]["accuracy"][group].items():
        assert own["accuracy"] == pytest.approx(metrics["accuracy"][group][scorer]["accuracy"])
    with open(run / "report" / "per_target.tsv", encoding="utf-8", newline="") as file:
        recall = {row["name"]: float(row["recall"]) for row in csv.DictReader(file, delimiter="\t")}
    assert kept["test"]["recall"] == pytest.approx(recall)
    assert kept["hardware"] == "one core"
    assert str(tmp_path) not in out.read_text()
    assert np.all(np.diff([step for step, _, _ in kept["curves"]["valid/accuracy"]]) > 0)


def test_a_folder_without_a_report_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    out = tmp_path / "kept.json"
    monkeypatch.setattr(sys, "argv", ["keep.py", "run", str(tmp_path), "--out", str(out)])
    with pytest.raises(SystemExit, match="2"):
        keep.main()
    assert "there is no such file" in capsys.readouterr().err
    assert not out.exists()
