from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqclass.data.batching import Buckets, Filling, one_bucket, padded_length, sort_by_length
from seqclass.errors import TrainingError

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=120)


@given(st.integers(1, 10**6))
def test_samples_are_padded_to_the_next_of_eight_lengths_in_an_octave(length: int) -> None:
    ladder = {(8 + eighth) * 2**octave for octave in range(20) for eighth in range(8)} | set(range(8))
    padded = int(padded_length(np.array([length]))[0])
    assert padded == min(rung for rung in ladder if rung >= length)
    assert padded < 1.125 * length + 1


def make_buckets(lengths: list[int], batch_residues: int, ranks: int, fewest: int) -> Buckets:
    return sort_by_length(np.array(lengths), batch_residues, ranks, fewest)


@given(LENGTHS, st.integers(1, 2000), st.integers(1, 4), st.integers(1, 3))
def test_buckets_hold_all_samples_and_are_wide_enough(
    lengths: list[int], batch_residues: int, ranks: int, fewest: int
) -> None:
    if len(lengths) < ranks * fewest:
        with pytest.raises(TrainingError, match=f"{len(lengths)} samples cannot be shared by {ranks} processes"):
            make_buckets(lengths, batch_residues, ranks, fewest)
        return
    buckets = make_buckets(lengths, batch_residues, ranks, fewest)
    assert (buckets.width[buckets.of] >= lengths).all()
    assert (np.bincount(buckets.of, minlength=len(buckets.width)) == buckets.count).all()
    assert set(buckets.width) <= set(padded_length(np.array(lengths)).tolist())
    assert (np.diff(buckets.width) > 0).all()
    # A longer sample is never in a narrower bucket.
    assert (np.diff(buckets.of[np.argsort(lengths)].astype(int)) >= 0).all()


@given(st.data(), LENGTHS, st.integers(1, 2000), st.integers(1, 4), st.integers(1, 3))
def test_batches_of_all_ranks_hold_each_visit_once_however_visits_come(
    data: st.DataObject, lengths: list[int], batch_residues: int, ranks: int, fewest: int
) -> None:
    if len(lengths) < ranks * fewest:
        return
    buckets = make_buckets(lengths, batch_residues, ranks, fewest)
    order = np.array(data.draw(st.permutations(range(len(lengths)))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lengths)), max_size=4)))
    bounds = [0, *cuts, len(lengths)]
    batches: dict[int, list[int]] = {}
    steps = []
    for rank in range(ranks):
        filling = Filling(buckets, rank)
        complete = []
        for low, high in pairwise(bounds):
            seating = filling.add(buckets.of[order[low:high]])
            rows = zip(seating.batch.tolist(), seating.low.tolist(), seating.high.tolist(), strict=True)
            for row, (batch, first, behind) in enumerate(rows):
                batches.setdefault(batch, []).extend(order[low:high][seating.visits[first:behind]].tolist())
                if row < seating.num_complete:
                    complete.append(batch)
        assert [batch % ranks for batch in complete] == [rank] * len(complete)
        steps.append([batch // ranks for batch in complete])
    assert sorted(chain.from_iterable(batches.values())) == list(range(len(lengths)))
    assert all(step == steps[0] for step in steps)
    assert len(steps[0]) * ranks == len(buckets.sizes) == len(batches)
    for step in steps[0]:
        of_step = [batches[step * ranks + rank] for rank in range(ranks)]
        assert len({int(buckets.of[sample]) for batch in of_step for sample in batch}) == 1
        sizes = [len(batch) for batch in of_step]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= fewest


@given(LENGTHS, st.integers(1, 2000), st.integers(1, 4), st.integers(1, 3))
def test_a_batch_exceeds_its_budget_only_where_one_step_more_would_have_too_few_samples(
    lengths: list[int], batch_residues: int, ranks: int, fewest: int
) -> None:
    if len(lengths) < ranks * fewest:
        return
    buckets = make_buckets(lengths, batch_residues, ranks, fewest)
    sizes, width = buckets.sizes, Filling(buckets, 0).width
    for each, count in zip(buckets.width, buckets.count, strict=True):
        here = sizes[width == each]
        if here.max() * each > batch_residues:
            assert count < (len(here) // ranks + 1) * ranks * fewest


@given(LENGTHS, st.integers(1, 2000), st.integers(1, 4), st.integers(0, 5))
def test_the_weighted_mean_over_ranks_is_the_mean_over_samples(
    lengths: list[int], batch_residues: int, ranks: int, seed: int
) -> None:
    if len(lengths) < ranks:
        return
    buckets = make_buckets(lengths, batch_residues, ranks, 1)
    loss = np.random.default_rng(seed).random(len(lengths))
    fillings = [Filling(buckets, rank) for rank in range(ranks)]
    seatings = [filling.add(buckets.of) for filling in fillings]
    for step in zip(*(range(len(seating.batch)) for seating in seatings), strict=True):
        members, means = [], []
        for filling, seating, row in zip(fillings, seatings, step, strict=True):
            here = seating.visits[seating.low[row] : seating.high[row]]
            members.extend(here.tolist())
            means.append(filling.weight[seating.batch[row]] * loss[here].mean())
        assert np.mean(means) == pytest.approx(loss[members].mean())


def test_samples_of_one_length_are_shared_evenly() -> None:
    buckets = one_bucket(103, 50, 25, 2)
    assert buckets.sizes.tolist() == [18, 17, 17, 17, 17, 17]
    assert Filling(buckets, 1).width.tolist() == [50] * 6


def test_a_few_long_samples_join_others_only_where_they_must() -> None:
    buckets = make_buckets([100] * 64 + [1000] * 2, 3200, 2, 1)
    assert buckets.width.tolist() == [104, 1024]
    assert buckets.count.tolist() == [64, 2]
    alone = make_buckets([100] * 64 + [1000], 3200, 2, 1)
    assert alone.width.tolist() == [1024]
