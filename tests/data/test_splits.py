"""Subsets, pooling and statistics: against plain loops, and properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustscape.data import splits
from robustscape.errors import ConfigError, UserError

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


def raw(**changes):
    """Small legal splits, with some fields changed."""
    images = np.arange(6 * 2 * 4 * 4, dtype=np.uint8).reshape(6, 2, 4, 4)
    fields = {
        "train_x": images,
        "train_y": np.array([0, 1, 2, 0, 1, 2]),
        "test_x": images[:3],
        "test_y": np.array([2, 1, 0]),
        "classes": ["a", "b", "c"],
        "scale": 255.0,
        "licence": "none",
        "source": "here",
        "official": True,
    }
    return splits.RawSplits(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_x": np.zeros((6, 2, 4, 4))}, "training inputs must be uint8"),
        ({"test_x": np.zeros((3, 16), np.uint8)}, "test inputs must be uint8"),
        ({"train_y": np.zeros(5, np.int64)}, r"training labels must be int64 \(6,\)"),
        ({"train_y": np.zeros(6, np.int32)}, "training labels must be int64"),
        ({"test_y": np.array([0, 1, 3])}, r"test labels must be in 0\.\.2"),
        ({"test_y": np.array([0, 1, -1])}, r"test labels must be in 0\.\.2.*; got -1\.\.1"),
        ({"test_x": np.zeros((0, 2, 4, 4), np.uint8), "test_y": np.zeros(0, np.int64)}, "there must be some"),
        ({"scale": 16.0}, "training inputs reach 191, above the scale 16"),
        ({"test_x": np.zeros((3, 2, 4, 5), np.uint8)}, "training and test inputs differ"),
        ({"train_y": np.array([0, 1, 0, 0, 1, 1])}, r"every class needs a training input; there is none of \['c'\]"),
    ],
)
def test_illegal_splits_get_a_sentence(changes, message):
    assert raw().official
    with pytest.raises(UserError, match=message):
        raw(**changes)


@given(LABELS)
def test_stratified_order_is_a_permutation_with_proportional_beginnings(labels):
    order = splits.stratified_order(labels)
    assert sorted(order) == list(range(len(labels)))
    classes, sizes = np.unique(labels, return_counts=True)
    for k in range(len(classes), len(labels) + 1):
        counts = np.array([(labels[order[:k]] == c).sum() for c in classes])
        assert (counts >= 1).all()
        # Sample r of a class of size m comes at r/m: no class is a whole sample ahead of another.
        for i, j in itertools.permutations(range(len(classes)), 2):
            assert (counts[i] - 1) / sizes[i] <= counts[j] / sizes[j]


@given(st.integers(1, 40), st.integers(2, 5), st.data())
def test_subsets_of_balanced_classes_are_balanced(size, classes, data):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), size))
    k = data.draw(st.integers(classes, len(labels)))
    x, y = splits.stratified_subset(np.arange(len(labels)), labels, k, "train", classes)
    counts = np.bincount(y, minlength=classes)
    assert counts.sum() == k
    assert counts.max() - counts.min() <= 1
    assert (labels[x] == y).all()
    assert len(set(x)) == k


def test_stratified_order_never_changes():
    # Results depend on which images a subset holds: these are the ones, with any version of NumPy.
    assert splits.stratified_order(np.zeros(12, int)).tolist() == [11, 3, 2, 1, 8, 6, 0, 7, 4, 10, 5, 9]
    labels = np.arange(200) // 20
    first = splits.stratified_order(labels)[:100]
    assert (labels[first] == np.tile(np.arange(10), 10)).all()
    assert len(set(first)) == 100
    assert set(first) != set(range(0, 200, 2))


def test_within_a_class_the_order_is_random():
    order = splits.stratified_order(np.zeros(1000, int))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1


@given(LABELS, st.floats(0.05, 0.95))
@settings(max_examples=50)
def test_hold_out_parts_the_samples(labels, share):
    train, test = splits.hold_out(labels, share)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert len(test) == int(np.ceil(share * len(labels)))


def test_subset_all_keeps_the_order_given():
    x, y = np.arange(5), np.array([1, 0, 1, 0, 1])
    assert splits.stratified_subset(x, y, None, "train", 2)[0] is x
    assert sorted(splits.stratified_subset(x, y, 5, "train", 2)[0]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [1, 6, 0])
def test_impossible_sizes_get_a_sentence(size):
    with pytest.raises(ConfigError, match=rf"key 'digits.train' got {size}; allowed is 2 .* to 5"):
        splits.stratified_subset(np.arange(5), np.array([1, 0, 1, 0, 1]), size, "digits.train", 2)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_mean_pool_rounds_half_up(factor):
    x = np.random.default_rng(1).integers(0, 256, (3, 2, 6, 12), dtype=np.uint8)
    x[0] = 255
    pooled = splits.mean_pool(x, factor)
    assert pooled.dtype == np.uint8
    assert pooled.shape == (3, 2, 6 // factor, 12 // factor)
    for n, c, i, j in np.ndindex(pooled.shape):
        block = x[n, c, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        assert pooled[n, c, i, j] == int(np.floor(block.mean() + 0.5))


def test_mean_pool_refuses_what_does_not_divide():
    with pytest.raises(ConfigError, match="'pool' got 3, which does not divide images of 8x8"):
        splits.mean_pool(np.zeros((1, 1, 8, 8), np.uint8), 3)


def test_keep_classes_relabels_in_the_order_of_the_names():
    kept = splits.keep_classes(raw(), ["c", "a"])
    assert kept.classes == ["c", "a"]
    assert kept.train_y.tolist() == [1, 0, 1, 0]
    assert kept.test_y.tolist() == [0, 1]
    assert (kept.train_x == raw().train_x[[0, 2, 3, 5]]).all()
    assert (kept.test_x == raw().test_x[[0, 2]]).all()


def test_channel_statistics_are_numpys():
    x = np.random.default_rng(2).integers(0, 256, (1500, 3, 5, 4), dtype=np.uint8)
    x[:, 1] //= 3
    mean, std = splits.channel_statistics(x, 255.0)
    scaled = x / 255.0
    assert np.allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    assert np.allclose(std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)
