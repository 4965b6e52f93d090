from pathlib import Path

import pytest

from seqclass.data.chromosomes import ChromosomeNames, listing, renaming_note
from seqclass.errors import IntervalError

ROMANS = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI"]
YEAST = [*ROMANS, "Mito"]
HUMAN = [*map(str, range(1, 23)), "X", "Y", "MT"]
WORM = ["I", "II", "III", "IV", "V", "X", "MtDNA"]


def find(genome, names, **kwargs):
    return ChromosomeNames(genome, file="genome.fa", **kwargs).find(names)


def test_yeast_is_matched_in_all_its_spellings_and_both_directions():
    arabic = {f"chr{number}": roman for number, roman in enumerate(ROMANS, start=1)}
    assert find(YEAST, [*arabic, "chrM"]) == arabic | {"chrM": "Mito"}
    assert find([*arabic, "chrM"], YEAST) == {roman: name for name, roman in arabic.items()} | {"Mito": "chrM"}
    assert find(YEAST, ["chrIV", "4", "chr04", "Chr_4", "IV"]) == dict.fromkeys(
        ["chrIV", "4", "chr04", "Chr_4", "IV"], "IV"
    )


def test_human_names_are_matched_with_and_without_chr():
    assert find(HUMAN, ["chr1", "chrX", "chrM", "10"]) == {"chr1": "1", "chrX": "X", "chrM": "MT", "10": "10"}


def test_a_sex_chromosome_is_never_taken_for_ten():
    assert find([f"chr{number}" for number in range(1, 23)], ["chrX"]) == {}
    assert find(WORM, ["10", "chr1"]) == {}
    assert find(WORM, ["chrX", "chrI", "CHROMOSOME_IV"]) == {"chrX": "X", "chrI": "I", "CHROMOSOME_IV": "IV"}
    assert find([*map(str, range(1, 11))], ["I", "II", "III", "X"]) == {}


def test_what_could_mean_two_chromosomes_is_not_matched():
    assert find(["chrM", "chrMT", "chr1"], ["Mito", "MT", "1", "chrM"]) == {"1": "chr1", "chrM": "chrM"}


def test_an_alias_table_goes_before_everything(tmp_path):
    table = tmp_path / "alias.tsv"
    table.write_text("# any order\nIV\tNC_001136.10\tchr7\n\nBK006934.2\tVIII\nunplaced\tother\n")
    assert find(YEAST, ["NC_001136.10", "chr7", "BK006934.2", "chr1", "other"], aliases=table) == {
        "NC_001136.10": "IV",
        "chr7": "IV",
        "BK006934.2": "VIII",
        "chr1": "I",
    }


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("IV\tNC_1\nV\tNC_1\n", ", line 2: ", "IV, V"),
        ("IV\tV\n", ", line 1: ", "IV, V"),
        ("IV\n", ", line 1: ", "one name"),
        ("a\tb\n", ": no line names", "Mito"),
    ],
)
def test_a_wrong_alias_table_is_refused(tmp_path, text, place, problem):
    table = tmp_path / "alias.tsv"
    table.write_text(text)
    with pytest.raises(IntervalError) as error:
        ChromosomeNames(YEAST, file="genome.fa", aliases=table)
    assert f"{table}{place}" in str(error.value)
    assert problem in str(error.value)


def test_names_without_a_match_stop_with_both_lists_and_the_remedies():
    names = ChromosomeNames(YEAST, file="genome.fa")
    places = {"chr1": (Path("a.bed"), 1), "chr17": (Path("b.bed"), 9)}
    with pytest.raises(IntervalError) as error:
        names.require(names.find(places), places)
    text = str(error.value)
    assert text.startswith("b.bed, line 9: chromosome chr17 cannot be matched")
    assert "here: chr1, chr17; in genome.fa: I, II," in text
    assert "--chrom-alias" in text
    assert "--exclude-chroms" in text


def test_no_chromosome_in_common_has_its_own_sentence():
    names = ChromosomeNames(["contig1"], file="genome.fa")
    with pytest.raises(IntervalError, match="no chromosome in common with the genome"):
        names.require({}, {"chr1": (Path("a.bed"), 1)})


def test_only_changed_names_are_told():
    assert renaming_note({"1": "1"}, "the peaks") == []
    assert renaming_note({"chr10": "X", "chr4": "IV", "Mito": "Mito"}, "the peaks") == [
        "chromosome names of the peaks mapped: chr4 -> IV, chr10 -> X"
    ]


def test_long_lists_are_cut():
    assert listing("abc") == "a, b, c"
    assert listing(map(str, range(9)), shown=2) == "0, 1 and 7 more"
