import csv
import re
from collections import Counter

import numpy as np
import pytest
from pyfaidx import Fasta

from seqclass.data.simulate.motifs import CONSENSUS
from seqclass.data.simulate.variants import simulate_vcf
from seqclass.errors import SourceError

IUPAC = {"R": "[AG]", "Y": "[CT]", "M": "[AC]"}
COMPLEMENT = str.maketrans("ACGT", "TGCA")
EXPRESSIONS = {
    name: re.compile("(?=" + "".join(IUPAC.get(c, c) for c in consensus) + ")") for name, consensus in CONSENSUS.items()
}


def starts(motif, sequence):
    """Where a motif begins on either strand, by regular expressions on the sequence and on its reverse complement."""
    width = len(CONSENSUS[motif])
    forward = {match.start(): "+" for match in EXPRESSIONS[motif].finditer(sequence)}
    other = sequence[::-1].translate(COMPLEMENT)
    backward = {len(sequence) - match.start() - width: "-" for match in EXPRESSIONS[motif].finditer(other)}
    return backward | forward


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_vcf(tmp_path_factory.mktemp("vcf") / "data", length=60_000)


@pytest.fixture(scope="module")
def genome(folder):
    return {chrom.name: str(chrom) for chrom in Fasta(str(folder / "genome.fa"))}


@pytest.fixture(scope="module")
def records(folder):
    lines = (folder / "variants.vcf").read_text().splitlines()
    assert lines[0] == "##fileformat=VCFv4.2"
    names = next(line for line in lines if line.startswith("#CHROM"))[1:].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def effects(folder):
    with open(folder / "effects.tsv") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_ref_is_the_genomes(folder, records):
    fasta = Fasta(str(folder / "genome.fa"))
    assert len(records) == 2 * 600
    for record in records:
        begin = int(record["POS"]) - 1
        assert str(fasta[record["CHROM"]][begin : begin + len(record["REF"])]) == record["REF"]
        assert record["REF"] not in record["ALT"].split(",")
        assert set(record["REF"] + record["ALT"]) <= set("ACGT,")


def test_records_are_sorted_and_do_not_overlap(records):
    ends = {"chr1": 0, "chr2": 0}
    order = [record["CHROM"] for record in records]
    assert order == sorted(order)
    for record in records:
        assert int(record["POS"]) > ends[record["CHROM"]]
        ends[record["CHROM"]] = int(record["POS"]) + len(record["REF"]) - 1


def test_alleles_are_parsimonious_and_left_aligned(records):
    """The normal form of Tan et al. (2015): no shared last base; no shared first base that could go."""
    for record in records:
        alleles = [record["REF"], *record["ALT"].split(",")]
        assert len({allele[-1] for allele in alleles}) > 1
        assert len({allele[0] for allele in alleles}) > 1 or min(map(len, alleles)) == 1


def test_all_kinds_of_variants_are_there(records, effects):
    shapes = Counter()
    for record in records:
        alts = record["ALT"].split(",")
        sizes = {len(alt) - len(record["REF"]) for alt in alts}
        kind = "multi-allelic" if len(alts) > 1 else {0: "snv", 1: "insertion", -1: "deletion"}[np.sign(max(sizes))]
        shapes[kind, bool(sizes - {0})] += 1
        genotype = record["simulated"]
        assert genotype == "1/2" if len(alts) > 1 else genotype in ("0/1", "1/1")
        written = {row["kind"] for row in effects if (row["chrom"], row["pos"]) == (record["CHROM"], record["POS"])}
        assert written == {kind}
    assert shapes.keys() == {
        ("snv", False), ("insertion", True), ("deletion", True), ("multi-allelic", False), ("multi-allelic", True)
    }  # fmt: skip
    assert min(shapes.values()) > 50


def test_sites_are_all_matches_in_the_genome(folder, genome):
    with open(folder / "sites.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    written = {(row["chrom"], int(row["start"]), int(row["end"]), row["strand"], row["motif"]) for row in rows}
    assert written == {
        (chrom, start, start + len(consensus), strand, motif)
        for chrom, sequence in genome.items()
        for motif, consensus in CONSENSUS.items()
        for start, strand in starts(motif, sequence).items()
    }
    assert len(written) == len(rows)


def test_effects_are_what_happens_to_the_whole_chromosome(genome, records, effects):
    before = {(chrom, motif): len(starts(motif, genome[chrom])) for chrom in genome for motif in CONSENSUS}
    assert len(effects) == len(CONSENSUS) * sum(len(record["ALT"].split(",")) for record in records)
    chosen = [row for number, row in enumerate(effects) if row["effect"] != "none" or number % 20 == 0]
    for row in np.random.default_rng(0).permutation(chosen)[:400]:
        sequence, begin = genome[row["chrom"]], int(row["pos"]) - 1
        changed = sequence[:begin] + row["alt"] + sequence[begin + len(row["ref"]) :]
        change = len(starts(row["motif"], changed)) - before[row["chrom"], row["motif"]]
        assert row["effect"] == {-1: "destroys", 0: "none", 1: "creates"}[int(np.sign(change))]
        assert int(row["sites_after"]) - int(row["sites_before"]) == change


def test_every_kind_destroys_sites_and_some_alleles_create_them(effects):
    counts = Counter((row["kind"], row["effect"]) for row in effects)
    for kind in ("snv", "insertion", "deletion", "multi-allelic"):
        assert counts[kind, "destroys"] > 20
    assert counts["snv", "creates"] > 20
    assert counts["multi-allelic", "creates"] > 10
    for motif in CONSENSUS:
        assert {row["effect"] for row in effects if row["motif"] == motif} == {"destroys", "creates", "none"}


def test_one_allele_of_a_record_may_do_what_the_other_does_not(effects):
    by_record = {}
    for row in effects:
        if row["kind"] == "multi-allelic":
            by_record.setdefault((row["chrom"], row["pos"], row["motif"]), set()).add(row["effect"])
    assert sum(len(found) > 1 for found in by_record.values()) > 10


def test_one_seed_gives_one_folder(tmp_path):
    def contents(name):
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        simulate_vcf(tmp_path / name, length=2000, seed=seed)
    assert contents("a") == contents("b") != contents("c")


@pytest.mark.parametrize("options", [{"chromosomes": 0}, {"length": 999}, {"seed": -1}])
def test_sizes_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(SourceError):
        simulate_vcf(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())
