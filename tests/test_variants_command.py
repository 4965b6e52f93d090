"""`seqclass variants` from the command line: files in, files out, one line for bad input."""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seqclass.bundle import Bundle
from seqclass.cli.variants import add_variants_command
from seqclass.data.simulate.variants import simulate_vcf
from seqclass.models import create_model
from seqclass.targets import Target
from seqclass.terminal import plain_errors

pytest.importorskip("pysam", reason="reading VCF needs pysam")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: Callable[..., Bundle]) -> Callable[[str], None]:
    """Runs a line in a folder with bundles `dna` and `protein`, simulated variants `sim`, and `p.fa`."""
    monkeypatch.chdir(tmp_path)
    make_bundle().save("dna")
    torch.manual_seed(0)
    model = create_model("protcnn", num_targets=1, channels=16, bottleneck=8, dilations=(1,))
    Bundle(model.eval(), [Target("a")], [1]).save("protein")
    simulate_vcf("sim", length=2000)
    Path("p.fa").write_text(">P1\nMKV\n")

    def run(line: str) -> None:
        parser = argparse.ArgumentParser()
        add_variants_command(parser.add_subparsers(required=True))
        options = parser.parse_args(line.split())
        with plain_errors(debug=False):
            options.command(options)

    return run


def rows(path: str) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


VCF = "dna --vcf sim/variants.vcf --genome sim/genome.fa"


@pytest.mark.parametrize("name", ["variants", "vep"])
def test_a_vcf_becomes_a_table(run: Callable[[str], None], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{name} {VCF} --out a.tsv --target t1")
    assert "wrote a.tsv" in capsys.readouterr().err
    assert [column for column in rows("a.tsv")[0] if ":" in column] == [
        "t1:delta_probability",
        "t1:delta_logit",
        "t1:product",
    ]


def test_evalues_come_from_an_earlier_result(run: Callable[[str], None]) -> None:
    run(f"variants {VCF} --out background.h5")
    run(f"variants {VCF} --out a.tsv --background background.h5")
    shares = [float(row["t0:evalue"]) for row in rows("a.tsv")]
    assert max(shares) == 1
    assert min(shares) == pytest.approx(1 / len(shares), rel=1e-3)
    assert Path("a.tsv.background.h5").exists()


def test_a_region_becomes_a_table_and_a_map(run: Callable[[str], None]) -> None:
    run("variants dna --ism chr1:100-130 --genome sim/genome.fa --out ism.tsv --target t2")
    assert len(rows("ism.tsv")) == 31 * 3
    assert Path("ism.png").stat().st_size > 5000


def test_proteins_are_scanned_or_changed_as_listed(run: Callable[[str], None]) -> None:
    run("variants protein --fasta p.fa --out scan.tsv")
    assert len(rows("scan.tsv")) == 3 * 19
    Path("list.tsv").write_text("P1\tK2A\n")
    run("variants protein --fasta p.fa --substitutions list.tsv --out listed.tsv")
    (listed,) = rows("listed.tsv")
    scanned = next(row for row in rows("scan.tsv") if row["substitution"] == "K2A")
    assert listed["a:delta_logit"] == scanned["a:delta_logit"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{VCF} --out a.tsv --target nothing", "there is no target 'nothing' among 3. There are: t0, t1, t2"),
        (f"{VCF} --out a.doc", "the ending of 'a.doc' does not say what to write"),
        (f"{VCF} --out sim/variants.vcf --force", "this is what is to be read"),
        (f"{VCF} --out a.tsv --sample nobody", "there is no sample 'nobody' among 1"),
        ("dna --vcf nothing.vcf --genome sim/genome.fa --out a.tsv", "nothing.vcf: there is no such file"),
        ("dna --vcf sim/variants.vcf --genome nothing.fa --out a.tsv", "nothing.fa: there is no such file"),
        ("dna --fasta p.fa --out a.tsv", "the model reads dna tokens, and substitutions can be scored only"),
        ("protein --vcf sim/variants.vcf --genome sim/genome.fa --out a.tsv", "the model reads protein tokens"),
        (
            "dna --ism chr7:1-2 --genome sim/genome.fa --out a.tsv",
            "there is no chromosome 'chr7'; there are: chr1, chr2",
        ),
        (f"{VCF} --out a.tsv --background sim/effects.tsv", "cannot be read as effects of variants"),
    ],
)
def test_bad_input_is_one_line(
    run: Callable[[str], None], line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(f"variants {line}")
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not Path("a.tsv").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dna --vcf v --out a.tsv", "--genome is needed with --vcf and --ism"),
        ("dna --ism chr1:1-9 --genome g --out a.tsv --pass-only --haplotypes", "--pass-only, --haplotypes"),
        ("protein --fasta p.fa --genome g --out a.tsv", "--genome"),
        ("dna --vcf v --genome g --ism c --out a.tsv", "not allowed with argument"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Callable[[str], None], line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(f"variants {line}")
    assert said in capsys.readouterr().err
