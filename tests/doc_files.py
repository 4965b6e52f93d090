"""Small simulated files under the names that the documentation uses, so that its commands run as printed."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from language_model_files import save_bert, save_esm, save_t5

from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.simulate.embeddings import simulate_embeddings
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.simulate.localisation import simulate_deeploc
from seqclass.data.simulate.motif_proteins import simulate_fasta
from seqclass.data.simulate.motifs import CONSENSUS
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.simulate.writing import write_fasta, write_table

CHROMOSOMES = ("chrI", "chrII", "chrIV", "chrVII", "chrMito")
SMALL_DNA = (
    "--model.channels 16 --model.widths [16,16] --model.strides [4,4] --model.expansion 1 --model.layers 1 "
    "--model.embedding one-hot --model.hidden 16 --trainer.max_epochs 1 --data.batch_size 32"
)
SMALL_PROTEIN = "--model.channels 16 --model.bottleneck 8 --trainer.max_epochs 2 --data.batch_size 32"

Shell = Callable[[str, Path], subprocess.CompletedProcess[str]]
_MAKERS: dict[str, Callable[[Stock], object]] = {}


class Stock:
    """A folder in which each file is made when it is first asked for.

    Args:
        folder: Where they are made.
        shell: Runs a line in a folder.
    """

    def __init__(self, folder: Path, shell: Shell) -> None:
        self.folder = folder
        self._shell = shell

    def __getitem__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _MAKERS[name](self)
        return path

    def run(self, line: str) -> None:
        ended = self._shell(line, self.folder)
        assert ended.returncode == 0, f"{line}\n{ended.stderr}"

    def lay_out(self, texts: Iterable[str], folder: Path) -> None:
        """Puts into a folder the files that commands name, but for those that they write themselves first."""
        code = "\n".join(texts)
        for name in _MAKERS:
            first = re.search(rf"(?P<before>\S*)(?<![\w.-]){re.escape(name)}(?![\w.-])", code)
            if first and not re.search(r"(--out[ =]|> ?)(\./)?$", code[: first.start() + len(first["before"])]):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                made = self[name]
                if made.is_dir():
                    shutil.copytree(made, target, dirs_exist_ok=True)
                else:
                    shutil.copy(made, target)


def makes(*names: str) -> Callable[[Callable[[Stock], object]], Callable[[Stock], object]]:
    """Decorator: the function makes files of those names."""

    def register(maker: Callable[[Stock], object]) -> Callable[[Stock], object]:
        _MAKERS.update(dict.fromkeys(names, maker))
        return maker

    return register


# DNA


@makes("sacCer3.fa", "peaks", "motifs.meme", "plants.tsv")
def _genome(stock: Stock) -> None:
    raw = simulate_peaks(stock.folder / "raw-genome", chromosomes=len(CHROMOSOMES), length=12_000, positives=0.25)
    names = {f"chr{number}": name for number, name in enumerate(CHROMOSOMES, start=1)}

    def renamed(path: Path) -> str:
        return re.sub(r"chr\d", lambda found: names[found[0]], path.read_text())

    (stock.folder / "sacCer3.fa").write_text(renamed(raw / "genome.fa"))
    (stock.folder / "plants.tsv").write_text(renamed(raw / "plants.tsv"))
    shutil.copy(raw / "motifs.meme", stock.folder)
    (stock.folder / "peaks").mkdir()
    for path in (raw / "peaks").iterdir():
        (stock.folder / "peaks" / path.name).write_text(renamed(path))


@makes("yeast.h5")
def _yeast(stock: Stock) -> None:
    stock.run(
        f"seqclass data import peaks --genome {stock['sacCer3.fa']} --peaks {stock['peaks']} --out yeast.h5 "
        "--valid-chroms VII --test-chroms IV"
    )


@makes("runs/yeast", "runs/mine", "runs/a", "runs/b", "runs/c")
def _yeast_runs(stock: Stock) -> None:
    fit = f"seqclass fit --model wrn_transformer_xl --data.store {stock['yeast.h5']} {SMALL_DNA}"
    for seed, name in enumerate(("a", "b", "c")):
        stock.run(f"{fit} --seed {seed} --out runs/{name}")
    for name in ("yeast", "mine"):
        shutil.copytree(stock.folder / "runs/a", stock.folder / "runs" / name)


@makes("runs/demo", "runs/demo-data")
def _demo(stock: Stock) -> None:
    raw = simulate_peaks(stock.folder / "runs/demo-data/raw", length=20_000, positives=0.2)
    stock.run(
        f"seqclass data import peaks --genome {raw}/genome.fa --peaks {raw}/peaks --out runs/demo-data/demo.h5 "
        "--window 200 --valid-chroms chr5 --test-chroms chr6"
    )
    stock.run(
        "seqclass fit --model wrn_transformer_xl --data.store runs/demo-data/demo.h5 --out runs/demo "
        f"{SMALL_DNA} --model.strides [2,2] --model.pool centre-max"
    )


@makes("promoters.fasta", "new.fasta", "promoters.fasta.gz", "many.fasta.gz")
def _promoters(stock: Stock) -> None:
    (genome,) = (record.letters.decode() for record in read_fasta(stock["sacCer3.fa"]) if record.name == "chrIV")
    parts = [(f"promoter{number}", genome[start : start + 1000]) for number, start in enumerate(range(0, 9000, 800))]
    write_fasta(stock.folder / "promoters.fasta", parts)
    write_fasta(stock.folder / "new.fasta", parts)
    for name in ("promoters.fasta.gz", "many.fasta.gz"):
        with gzip.open(stock.folder / name, "wb") as file:
            file.write((stock.folder / "promoters.fasta").read_bytes())


@makes("variants.vcf")
def _variants(stock: Stock) -> None:
    (genome,) = (record.letters.decode() for record in read_fasta(stock["sacCer3.fa"]) if record.name == "chrII")
    lines = ["##fileformat=VCFv4.2", f"##contig=<ID=chrII,length={len(genome)}>"]
    lines += ['##FILTER=<ID=PASS,Description="passed">', "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for position in range(600, 1100, 50):
        ref = genome[position - 1]
        lines.append(f"chrII\t{position}\t.\t{ref}\t{'ACGT'['ACGT'.index(ref) - 1]}\t.\tPASS\t.")
    (stock.folder / "variants.vcf").write_text("\n".join(lines) + "\n")


@makes("train.mat", "valid.mat", "test.mat")
def _deepsea_files(stock: Stock) -> None:
    raw = simulate_deepsea(stock.folder / "raw-deepsea", train=256, valid=128, test=128, targets=4)
    for split in ("train", "valid", "test"):
        shutil.copy(raw / f"{split}.mat", stock.folder)


@makes("deepsea.h5")
def _deepsea(stock: Stock) -> None:
    stock["train.mat"]
    stock.run("seqclass data import deepsea --train train.mat --valid valid.mat --test test.mat --out deepsea.h5")


@makes("CTCF.bed", "samples.tsv")
def _peak_files(stock: Stock) -> None:
    path = stock["peaks"] / f"{next(iter(CONSENSUS))}.narrowPeak"
    shutil.copy(path, stock.folder / "CTCF.bed")
    write_table(stock.folder / "samples.tsv", ("path", "target", "group"), [("CTCF.bed", "CTCF", "TF")])


@makes("genes.gff3.gz")
def _genes(stock: Stock) -> None:
    gene = "chrIV\t.\tgene\t5200\t5700\t.\t+\t.\tID=gene1;Name=YDL001W\n"
    with gzip.open(stock.folder / "genes.gff3.gz", "wt") as file:
        file.write("##gff-version 3\n" + gene)


# Proteins


@makes("random_split")
def _families(stock: Stock) -> None:
    simulate_pfam(stock.folder / "raw-pfam", families=4, members=80)
    shutil.copytree(stock.folder / "raw-pfam/random_split", stock.folder / "random_split")


@makes("families.h5", "pfam.h5", "proteins.h5", "my.h5", "lm-data.h5")
def _family_stores(stock: Stock) -> None:
    stock.run(f"seqclass data import pfam {stock['random_split']} --out families.h5")
    for name in ("pfam.h5", "proteins.h5", "my.h5"):
        shutil.copy(stock.folder / "families.h5", stock.folder / name)


@makes("proteins.fasta", "proteins.fasta.gz", "enzymes.fasta", "labels.tsv", "by_class", "proteins.tsv")
def _proteins(stock: Stock) -> None:
    raw = simulate_fasta(stock.folder / "raw-fasta", proteins=60)
    shutil.copytree(raw / "by_class", stock.folder / "by_class")
    shutil.copy(raw / "labels.tsv", stock.folder)
    records = [(record.name, record.letters.decode()) for record in read_fasta(raw / "proteins.fasta")]
    write_fasta(stock.folder / "proteins.fasta", records)
    with gzip.open(stock.folder / "proteins.fasta.gz", "wb") as file:
        file.write((stock.folder / "proteins.fasta").read_bytes())
    classes = [line.split("\t")[1] for line in (raw / "labels.tsv").read_text().splitlines()[1:]]
    numbers = {name: str(number) for number, name in enumerate(sorted(set(classes)), start=1)}
    labelled = list(zip(records, classes, strict=True))
    numbered = [(f"{name} EC={numbers[label]}", letters) for (name, letters), label in labelled]
    write_fasta(stock.folder / "enzymes.fasta", numbered)
    rows = [(name, letters, label, f"family{i // 4}") for i, ((name, letters), label) in enumerate(labelled)]
    write_table(stock.folder / "proteins.tsv", ("id", "sequence", "class", "family"), rows)


@makes("protein.fasta")
def _protein(stock: Stock) -> None:
    write_fasta(
        stock.folder / "protein.fasta", [("P1", next(read_fasta(stock["proteins.fasta"])).letters[:40].decode())]
    )


@makes("enzymes.tsv", "others.tsv", "more.tsv")
def _classes_and_others(stock: Stock) -> None:
    lines = stock["proteins.tsv"].read_text().splitlines()
    for name, chosen in (("enzymes.tsv", lines[1:21]), ("others.tsv", lines[21:41]), ("more.tsv", lines[41:])):
        (stock.folder / name).write_text("\n".join([lines[0], *chosen]) + "\n")


@makes("deeploc_data.fasta")
def _deeploc(stock: Stock) -> None:
    raw = simulate_deeploc(stock.folder / "raw-deeploc", proteins=100)
    shutil.copy(raw / "deeploc.fasta", stock.folder / "deeploc_data.fasta")


@makes("vectors.h5")
def _vectors(stock: Stock) -> None:
    backbone = stock["Rostlab/prot_t5_xl_half_uniref50-enc"]
    stock.run(f"seqclass embed --backbone {backbone} {stock['proteins.fasta']} vectors.h5")


@makes("vectors-store.h5")
def _vector_store(stock: Stock) -> None:
    raw = simulate_embeddings(stock.folder / "raw-embeddings", proteins=300, dimensions=16)
    stock.run(
        f"seqclass data import embeddings {raw}/embeddings.h5 --labels-table {raw}/labels.tsv --split split "
        "--out vectors-store.h5"
    )


@makes("runs/proteins")
def _protein_run(stock: Stock) -> None:
    store = stock["families.h5"]
    stock.run(f"seqclass fit --model protcnn_small --data.store {store} --out runs/proteins {SMALL_PROTEIN}")


@makes("space.yaml")
def _space(stock: Stock) -> None:
    (stock.folder / "space.yaml").write_text("recipe.learning_rate: {log-uniform: [1e-4, 1e-2]}\n")


@makes("Rostlab/prot_bert", "Rostlab/prot_t5_xl_half_uniref50-enc", "facebook/esm2_t12_35M_UR50D")
def _checkpoints(stock: Stock) -> None:
    """A name on the hub may as well be a folder."""
    folder = stock.folder
    (folder / "Rostlab").mkdir(exist_ok=True)
    (folder / "facebook").mkdir(exist_ok=True)
    save_bert(folder / "Rostlab/prot_bert", max_position_embeddings=1024)
    save_t5(folder / "Rostlab/prot_t5_xl_half_uniref50-enc")
    save_esm(folder / "facebook/esm2_t12_35M_UR50D", max_position_embeddings=1026, num_hidden_layers=12)
