from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from densepose.data.bootstrap.point_sampling import rank_in_group, sample_points
from densepose.structures.body_pixels import BodyPixels
from tests.support.random_pixels import random_pixels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def groups(pixels: BodyPixels, index: torch.Tensor) -> Counter[tuple[int, int]]:
    return Counter(zip(pixels.owner[index].tolist(), pixels.part[index].tolist(), strict=True))


def may_be_drawn(pixels: BodyPixels, per_part: int, share: float, largest: bool) -> set[int]:
    """Pixel by pixel: who is among the best of his part."""
    allowed = set()
    for owner in range(len(pixels)):
        for part in range(1, 25):
            own = [
                i
                for i in range(len(pixels.part))
                if pixels.owner[i] == owner and pixels.part[i] == part
            ]
            own.sort(key=lambda i: float(pixels.certainty[i]), reverse=largest)
            allowed |= set(own[: max(int(len(own) * share), min(per_part, len(own)))])
    return allowed


def test_so_many_of_each_part_of_each_person():
    pixels = random_pixels([(6, 5), (3, 3)])
    all_of_them = groups(pixels, torch.arange(len(pixels.part)))
    for per_part in (1, 3, 100):
        chosen = sample_points(pixels, per_part, generator=generator())
        assert len(set(chosen.tolist())) == len(chosen)
        assert groups(pixels, chosen) == {g: min(per_part, n) for g, n in all_of_them.items()}


@pytest.mark.parametrize("largest", [False, True])
def test_only_the_best_are_drawn_and_all_of_them_can_be(largest: bool):
    pixels = random_pixels([(6, 5), (3, 3)])
    drawn: set[int] = set()
    for seed in range(60):
        chosen = sample_points(
            pixels, 2, best_fraction=0.5, largest=largest, generator=generator(seed)
        )
        drawn |= set(chosen.tolist())
    assert drawn == may_be_drawn(pixels, 2, 0.5, largest)


def test_every_pixel_is_as_likely_as_the_others():
    pixels = replace(random_pixels([(2, 5)]), part=torch.ones(10, dtype=torch.int64))
    count, runs, per_part = torch.zeros(10), 2000, 3
    for seed in range(runs):
        count[sample_points(pixels, per_part, generator=generator(seed))] += 1
    expected = runs * per_part / 10
    # Chi-squared with 9 degrees of freedom: above 27.9 once in a thousand.
    assert ((count - expected) ** 2 / expected).sum() < 27.9


def test_the_same_seed_gives_the_same_points():
    pixels = random_pixels([(6, 5)])
    first, again, other = (sample_points(pixels, 2, generator=generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_nobody_and_no_certainty():
    assert len(sample_points(random_pixels([]), 3, best_fraction=0.5)) == 0
    with pytest.raises(ValueError, match="needs pixels with a certainty"):
        sample_points(replace(random_pixels([(2, 2)]), certainty=None), 3, best_fraction=0.5)


def test_ranks_by_hand():
    group = torch.tensor([7, 2, 7, 2, 7])
    value = torch.tensor([3.0, 5.0, 1.0, 5.0, 2.0])
    assert rank_in_group(group, value).tolist() == [2, 0, 0, 1, 1]
