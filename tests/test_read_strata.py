import numpy as np
import pytest
from class_stores import make_classes, random_proteins

from seqclass.errors import EvaluationError, SourceError
from seqclass.evaluation.strata import read_strata, stratify


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("name\torigin\tnote\ns2\tsoil\tx\ns0\tsea\t\ns1\tsoil\t\ns3\t\tx\n")
    return path


def test_accuracy_is_told_by_what_stands_in_a_column(table, tmp_path):
    sequences = random_proteins(np.random.default_rng(0), [40] * 4)
    store = make_classes(tmp_path / "s.h5", sequences, [0, 1, 0, 1], ["train", "test", "test", "test"])
    test = store.samples("test")
    scores = np.eye(2, dtype=np.float32)[[1, 1, 1]]
    strata = read_strata(table, ["origin", "note"], store.names(test))
    found = stratify(store, test, scores, annotations=strata)["family"]["strata"]
    assert [(row["stratum"], row["samples"], row["accuracy"]) for row in found["origin"]] == [("soil", 2, 0.5)]
    assert [(row["stratum"], row["samples"], row["accuracy"]) for row in found["note"]] == [("x", 2, 0.5)]


def test_entries_follow_the_names_and_none_is_no_stratum(table):
    strata = read_strata(table, ["origin"], ["s0", "s3", "s1", "s2"])["origin"]
    assert strata.names == ["sea", "soil"]
    assert strata.of.tolist() == [0, -1, 1, 1]


def test_samples_and_columns_that_the_table_lacks_are_refused(table, tmp_path):
    with pytest.raises(EvaluationError, match="1 of 2 samples have no row, such as 's9'"):
        read_strata(table, ["origin"], ["s0", "s9"])
    with pytest.raises(SourceError, match="no column 'colour'"):
        read_strata(table, ["colour"], ["s0"])
    with pytest.raises(SourceError):
        read_strata(table, [], ["s0"])
    unnamed = tmp_path / "unnamed.tsv"
    unnamed.write_text("who\torigin\ns0\tsea\n")
    with pytest.raises(EvaluationError, match="no column id, name or accession"):
        read_strata(unnamed, ["origin"], ["s0"])
