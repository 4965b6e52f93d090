from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from truth import Truth, proteins, whole, write_truth

from seqclass.data.labels import LabelLayout
from seqclass.data.loader import StoreLoader
from seqclass.data.sampling import balanced_weights, draw_weighted
from seqclass.errors import TrainingError
from seqclass.targets import Target

STREAMED = 2_000  # bytes


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    contigs = proteins(120)
    return write_truth(tmp_path_factory.mktemp("sampling") / "ragged.h5", contigs, whole(contigs))


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    contigs = [protein[:20] for protein in proteins(400) if len(protein) >= 20][:120]
    return write_truth(tmp_path_factory.mktemp("sampling") / "even.h5", contigs, whole(contigs))


@pytest.mark.parametrize("memory", [STREAMED, 1 << 30])
@pytest.mark.parametrize("kind", ["ragged", "even"])
def test_samples_are_drawn_as_often_as_they_weigh(kind: str, memory: int, request: pytest.FixtureRequest) -> None:
    truth = request.getfixturevalue(kind)
    weights = np.random.default_rng(1).gamma(1.0, size=120)
    weights[::10] = 0
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 16):
        ranks = [
            StoreLoader(
                truth.store, np.arange(120), 8, shuffle=True, weights=weights, memory=memory, rank=rank, world_size=2
            )
            for rank in range(2)
        ]
    assert ranks[0].streams == (memory == STREAMED)
    drawn: Counter[int] = Counter()
    num_epochs = 100
    for epoch in range(num_epochs):
        epochs = [list(loader) for loader in ranks]
        assert [len(batches) for batches in epochs] == [len(ranks[0])] * 2
        visited = [sample for batches in epochs for batch in batches for sample in batch.samples.tolist()]
        assert len(visited) == 120
        drawn.update(visited)
        if epoch == 0:
            for batch in epochs[0]:
                truth.check(batch)
    observed = np.array([drawn[sample] for sample in range(120)])
    assert not observed[weights == 0].any()
    positive = weights > 0
    expected = weights / weights.sum() * num_epochs * 120
    # A bucket's share of an epoch is rounded to whole samples, so the frequencies within buckets are what is random.
    if kind == "ragged":
        bucket = ranks[0]._buckets.of
        total = np.bincount(bucket, observed)
        assert abs(total - np.bincount(bucket, expected)).max() <= num_epochs
        expected *= (total / np.bincount(bucket, expected))[bucket]
    assert chisquare(observed[positive], expected[positive]).pvalue > 0.001
    uniform = np.full(positive.sum(), observed.sum() / positive.sum())
    assert chisquare(observed[positive], uniform).pvalue < 1e-9


def test_an_epoch_of_draws_follows_from_the_seed_and_the_epoch() -> None:
    weights, bucket, count = np.arange(1.0, 51), np.repeat([0, 1], 25), np.array([10, 40])
    draws = {place: draw_weighted(weights, bucket, count, *place).tolist() for place in ((0, 0), (0, 1), (1, 0))}
    assert draw_weighted(weights, bucket, count, 0, 1).tolist() == draws[0, 1]
    assert len({tuple(times) for times in draws.values()}) == 3
    for times in draws.values():
        assert (sum(times[:25]), sum(times[25:])) == (10, 40)


@pytest.mark.parametrize("kind", ["ragged", "even"])
def test_blocks_from_which_nothing_is_drawn_are_passed_over(kind: str, request: pytest.FixtureRequest) -> None:
    truth = request.getfixturevalue(kind)
    weights = np.zeros(120)
    weights[[3, 50, 51]] = 1
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 8):
        loader = StoreLoader(truth.store, np.arange(120), 8, shuffle=True, weights=weights, memory=400)
    for _ in range(3):
        visited = [sample for batch in loader for sample in batch.samples.tolist()]
        assert len(visited) == 120
        assert set(visited) <= {3, 50, 51}


def test_weights_without_shuffling_are_refused(even: Truth) -> None:
    with pytest.raises(TrainingError, match="weights are for drawing samples at random"):
        StoreLoader(even.store, np.arange(120), 8, weights=np.ones(120))


@given(st.integers(1, 30), st.integers(0, 9), st.integers(0, 2**16))
def test_balanced_weights_are_one_over_how_common_the_rarest_target_is(samples: int, binary: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    classes = [Target(f"c{number}", "question") for number in range(3)]
    layout = LabelLayout([*classes, *(Target(f"t{number}") for number in range(binary))], ["question"], missing=True)
    flags, answers = generator.integers(-1, 2, (samples, binary)), generator.integers(-1, 3, (samples, 1))
    carried = [
        {("class", int(answer)) for answer in answers[row] if answer >= 0}
        | {("flag", int(target)) for target in np.flatnonzero(flags[row] == 1)}
        for row in range(samples)
    ]
    count = Counter(target for targets in carried for target in targets)
    nothing = sum(not targets for targets in carried)
    expected = [1 / min((count[target] for target in targets), default=nothing) for targets in carried]
    rows = layout.pack(flags if binary else None, answers)
    np.testing.assert_allclose(balanced_weights(layout, rows), expected)


def test_balanced_sampling_brings_rare_and_common_classes_alike(ragged: Truth) -> None:
    classes = np.repeat([0, 1, 2], [100, 15, 5])
    layout = LabelLayout([Target(name, "class") for name in "abc"], ["class"])
    weights = balanced_weights(layout, layout.pack(classes=classes[:, None]))
    loader = StoreLoader(ragged.store, np.arange(120), 8, shuffle=True, weights=weights)
    drawn = np.concatenate([classes[batch.samples.numpy()] for _ in range(60) for batch in loader])
    assert np.bincount(drawn) / len(drawn) == pytest.approx([1 / 3] * 3, abs=0.02)
