import pytest

from seqclass.errors import SequenceError, UnknownNameError, find_name

NAMES = ["Reb1_CX", "Rap1_CX", "Abf1_CX", "Abf1_alt", "Gal4"]


def test_a_message_names_place_problem_and_remedy() -> None:
    error = SequenceError("this is wrong", remedy="Do that", file="a.fa", record=7)
    assert str(error) == "a.fa, line 7: this is wrong. Do that."


@pytest.mark.parametrize(("wanted", "found"), [("Gal4", "Gal4"), ("gal4", "Gal4"), ("reb1", "Reb1_CX"), ("G", "Gal4")])
def test_a_name_is_found_by_itself_or_a_unique_prefix(wanted: str, found: str) -> None:
    assert find_name("target", wanted, NAMES) == found


def test_an_ambiguous_prefix_lists_what_it_could_mean() -> None:
    with pytest.raises(UnknownNameError, match=r"ambiguous: 2 names start so \(Abf1_CX, Abf1_alt\)"):
        find_name("target", "abf1", NAMES)


def test_a_misspelt_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no target 'Rab1_CX'.*Did you mean .*Rap1_CX"):
        find_name("target", "Rab1_CX", NAMES)


def test_a_name_like_nothing_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="There are: Reb1_CX, Rap1_CX"):
        find_name("target", "zzzzz", NAMES)
