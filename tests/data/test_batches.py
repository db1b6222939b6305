"""The order of an epoch and augmentation: against slicing of the padded image, one image at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.data.batches import augment, epoch_order

torch.set_num_threads(1)


class Given:
    """A draw that was written down: what ``augment`` must make of it is then known exactly."""

    def __init__(self, numbers=None):
        self.numbers, self.highs = numbers, []

    def integers(self, high, shape=()):
        self.highs.append((high, shape))
        return self.numbers


def images(*shape, dtype=torch.uint8):
    return torch.randint(1, 256, shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@given(
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 4),
    st.booleans(),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_crop_is_slicing_of_the_padded_image_and_flip_is_horizontal(batch, channels, height, width, crop, flip, data):
    x = images(batch, channels, height, width)
    places = 2 * crop + 1
    numbers = data.draw(st.lists(st.integers(0, 2 * places**2 - 1), min_size=batch, max_size=batch))
    top, left, coin = np.unravel_index(numbers, (places, places, 2))
    draws = Given(torch.tensor(numbers))
    result = augment(x, draws, crop=crop, flip=flip)

    assert draws.highs == [(2 * places**2, ())] * (crop > 0 or flip)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    for i in range(batch):
        padded = np.pad(x[i].numpy(), ((0, 0), (crop, crop), (crop, crop)))
        expected = padded[:, top[i] : top[i] + height, left[i] : left[i] + width]
        if flip and coin[i]:
            expected = expected[:, :, ::-1]
        assert (result[i].numpy() == expected).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_of_any_type(dtype):
    x = images(8, 3, 6, 6, dtype=dtype)
    draws = SampleGenerator.seeded(3, 8)
    expected = augment(images(8, 3, 6, 6), SampleGenerator.seeded(3, 8), crop=2, flip=True)
    assert torch.equal(augment(x, draws, crop=2, flip=True), expected.to(dtype))


def test_every_offset_and_both_sides_come_equally_often():
    n = 20_000
    # A single bright pixel in the middle shows where the window was.
    x = torch.zeros(n, 1, 9, 10)
    x[:, :, 4, 4] = 1
    result = augment(x, SampleGenerator.seeded(0, n), crop=2)
    places = torch.bincount(result.flatten(1).argmax(1), minlength=90).view(9, 10)
    assert places[2:7, 2:7].sum() == n
    assert (places[2:7, 2:7] - n / 25).abs().max() < 5 * (n / 25) ** 0.5
    mirrored = augment(x, SampleGenerator.seeded(0, n), flip=True)[:, 0, 4, 5].sum()
    assert abs(mirrored - n / 2) < 5 * (n / 4) ** 0.5


def test_an_image_is_augmented_the_same_in_any_batch():
    x = images(10, 3, 8, 8)
    whole = augment(x, SampleGenerator.seeded(7, 10), crop=4, flip=True)
    assert not torch.equal(whole, x)
    assert torch.equal(whole, augment(x, SampleGenerator.seeded(7, 10), crop=4, flip=True))
    assert not torch.equal(whole, augment(x, SampleGenerator.seeded(8, 10), crop=4, flip=True))
    index = torch.tensor([9, 2, 5])
    assert torch.equal(augment(x[index], SampleGenerator.seeded(7, index), crop=4, flip=True), whole[index])


def test_no_augmentation_changes_and_draws_nothing():
    x = images(4, 1, 5, 5)
    before = x.clone()
    assert torch.equal(augment(x, Given()), before)
    augment(x, SampleGenerator.seeded(0, 4), crop=3, flip=True)
    assert torch.equal(x, before), "the data set itself was changed"


@given(st.integers(1, 300), st.integers(0, 2**60), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_epoch_order_is_a_permutation_and_a_function_of_seed_and_epoch(count, seed, epoch):
    order = epoch_order(count, seed, epoch)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(count))
    assert torch.equal(order, epoch_order(count, seed, epoch))
    if count > 20:
        assert not torch.equal(order, epoch_order(count, seed + 1, epoch))
        assert not torch.equal(order, epoch_order(count, seed, epoch + 1))


def test_epoch_order_never_changes_and_ignores_global_random_states():
    torch.manual_seed(5)
    first = epoch_order(8, 1, 2)
    torch.manual_seed(6)
    assert torch.equal(first, epoch_order(8, 1, 2))
    assert first.tolist() == [5, 6, 3, 2, 1, 0, 4, 7]
