"""The cosine transform against scipy's, the bands of frequencies, and the filters of ma2025 section 4.3."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.fft
import torch

from robustscape.data.dct import (
    band_masks,
    dct,
    dct_matrix,
    energy_mask,
    filter_images,
    frequency_order,
    idct,
    low_pass_mask,
    removed_count,
)


def test_the_transform_is_scipys() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 11).double()
    expected = scipy.fft.dctn(images.numpy(), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(dct(images).numpy(), expected, atol=1e-12)
    torch.testing.assert_close(idct(dct(images)), images)
    waves = torch.randn(3, 20).double()
    np.testing.assert_allclose(dct(waves).numpy(), scipy.fft.dct(waves.numpy(), norm="ortho"), atol=1e-12)
    torch.testing.assert_close(idct(dct(waves[:, None])), waves[:, None])
    s2, s3, s6 = math.sqrt(2), math.sqrt(3), math.sqrt(6)
    printed = torch.tensor([[1 / s3] * 3, [1 / s2, 0, -1 / s2], [1 / s6, -2 / s6, 1 / s6]]).double()
    torch.testing.assert_close(dct_matrix(3), printed, rtol=0, atol=1e-7)
    single = images.float()
    assert dct(single).dtype == torch.float32
    torch.testing.assert_close(dct(single).square().sum(), single.square().sum())


@pytest.mark.parametrize("shape", [(32, 32), (8, 8), (9, 14), (100,)])
def test_bands_are_a_partition_by_radius(shape: tuple[int, ...]) -> None:
    masks = band_masks(shape, 10)
    assert (masks.int().sum(0) == 1).all()
    counts = masks.flatten(1).sum(1)
    assert counts.max() - counts.min() <= 1 and masks[0].flatten()[0]
    radius = torch.stack(torch.meshgrid(*[torch.arange(s) for s in shape], indexing="ij")).double().norm(dim=0)
    for low, high in itertools.pairwise(masks):
        assert radius[low].max() <= radius[high].min()
    expected = np.array_split(np.argsort(radius.numpy().ravel(), kind="stable"), 10)
    for mask, members in zip(masks, expected, strict=True):
        assert set(mask.flatten().nonzero().squeeze(1).tolist()) == set(members.tolist())


# Filters --------------------------------------------------------------------------------------------------------------

IMAGES = torch.rand(4, 3, 9, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PERCENT = [0, 10, 30, 50, 70, 90, 100]


@pytest.mark.parametrize("percent", PERCENT)
def test_filters_zero_the_coefficients_they_say(percent: float) -> None:
    """scipy is the oracle: the mask of the work applied to its transform; p % of the coefficients within one are zero."""
    spectrum = scipy.fft.dctn(IMAGES.numpy(), axes=(2, 3), norm="ortho")
    count = removed_count((9, 14), percent)
    assert abs(count - percent / 100 * 9 * 14) < 1
    magnitude = np.abs(spectrum).mean(1)
    largest = np.sort(magnitude.reshape(4, -1))[:, count:].min(1) if count < 9 * 14 else np.full(4, np.inf)
    energy = magnitude >= largest[:, None, None]
    radius = np.hypot(*np.meshgrid(np.arange(9), np.arange(14), indexing="ij"))
    kept = np.argsort(radius.ravel(), kind="stable")[: 9 * 14 - count]
    low_pass = np.isin(np.arange(9 * 14), kept).reshape(9, 14)
    for name, mask in (("energy", energy[:, None]), ("low_pass", low_pass)):
        assert (np.broadcast_to(mask, (4, 1, 9, 14)) == 0).sum((1, 2, 3)).tolist() == [count] * 4
        expected = scipy.fft.idctn(spectrum * mask, axes=(2, 3), norm="ortho")
        np.testing.assert_allclose(filter_images(IMAGES, name, percent).numpy(), expected, atol=1e-12)  # type: ignore[arg-type]


def test_low_frequencies_are_kept_and_the_mask_does_not_depend_on_the_image() -> None:
    mask = low_pass_mask((28, 28), 90)
    assert mask[0, 0] and not mask[-1, -1]
    radius = torch.hypot(*torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij"))
    assert radius[mask].max() <= radius[~mask].min()
    assert mask.sum() == 784 - 705
    assert low_pass_mask((10,), 30).tolist() == [True] * 7 + [False] * 3


def test_the_energy_filter_loses_least_of_all_masks() -> None:
    """Parseval: what is removed is the sum of the squares removed; of one channel those are the smallest."""
    grey = IMAGES[:, :1]
    for percent in PERCENT:
        lost = {name: (filter_images(grey, name, percent) - grey).norm(dim=(2, 3)) for name in ("energy", "low_pass")}  # type: ignore[arg-type]
        assert (lost["energy"] <= lost["low_pass"] + 1e-12).all()
    ranked = dct(grey).square().flatten(1).sort(dim=1).values
    lost = (filter_images(grey, "energy", 50) - grey).square().sum((1, 2, 3))
    torch.testing.assert_close(lost, ranked[:, :63].sum(1))


def test_the_mask_of_an_image_is_its_own_and_its_channels_share_it() -> None:
    spectrum = dct(IMAGES)
    masks = energy_mask(spectrum, 50)
    assert masks.shape == (4, 1, 9, 14) and not (masks[0] == masks[1]).all()
    torch.testing.assert_close(filter_images(IMAGES[1:2], "energy", 50), filter_images(IMAGES, "energy", 50)[1:2])
    assert (energy_mask(torch.zeros(1, 1, 2, 2), 50).flatten().tolist()) == [False, False, True, True], "ties"


@pytest.mark.parametrize("name", ["energy", "low_pass"])
def test_filters_commute_with_mirroring_and_leave_the_range(name: str) -> None:
    mirrored = filter_images(IMAGES.flip(3), name, 50)  # type: ignore[arg-type]
    torch.testing.assert_close(mirrored, filter_images(IMAGES, name, 50).flip(3))  # type: ignore[arg-type]
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1
    assert filter_images(edge, name, 90).aminmax().min < 0, "not clipped"  # type: ignore[arg-type]
    assert filter_images(IMAGES, name, 0) is IMAGES  # type: ignore[arg-type]


def test_frequencies_of_equal_radius_are_ordered_by_index() -> None:
    assert frequency_order((3, 3)).tolist() == [0, 1, 3, 4, 2, 6, 5, 7, 8]
