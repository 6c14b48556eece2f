from __future__ import annotations

import itertools
import logging
import random
from collections import Counter

import pytest
import torch

from densepose.data.bootstrap.image_sources import SourceImages
from densepose.data.bootstrap.streams import MixedBatches, PseudoLabelStream, one_by_one
from densepose.errors import InputError
from tests.support.random_pixels import label_bright


def source(name: str, *levels: float, problem: str = "") -> SourceImages:
    return SourceImages(name, [torch.full((3, 6, 8), level) for level in levels], problem)


def stream(*groups: list[SourceImages], **options: object) -> PseudoLabelStream:
    return PseudoLabelStream(iter(groups), label_bright, name="wild", **options)


def test_images_with_people_become_samples():
    samples = list(stream([source("a", 200.0, 50.0), source("b", 150.0)]))
    assert [(s["file_name"], s["image"].mean().item()) for s in samples] == [("a", 200), ("b", 150)]
    (first, _) = samples
    assert (first["height"], first["width"], first["dataset"]) == (6, 8, "wild")
    assert len(first["instances"]) == 1


def test_a_group_is_shuffled_and_given_in_pieces():
    asked = []

    def label(images: list[torch.Tensor]) -> list:
        asked.append(len(images))
        return label_bright(images)

    levels = [float(level) for level in range(101, 112)]
    groups = [[source("a", *levels)]]
    options = {"images_at_once": 4, "rng": random.Random(3)}
    got = [
        s["image"][0, 0, 0].item() for s in PseudoLabelStream(groups, label, name="w", **options)
    ]
    assert sorted(got) == levels and got != levels
    assert asked == [4, 4, 3]


def test_files_that_cannot_be_read_are_told_once(caplog: pytest.LogCaptureFixture):
    broken = source("broken.mp4", problem="cut short")
    with caplog.at_level(logging.WARNING):
        samples = list(stream([broken, source("a", 200.0)], [broken]))
    assert len(samples) == 1
    assert [r.getMessage() for r in caplog.records] == ["wild: skipped broken.mp4: cut short"]


def test_a_stream_without_any_label_gives_up_instead_of_hanging():
    dark = itertools.repeat([source("a", 0.0)])
    with pytest.raises(
        InputError, match="wild: the teacher detected nothing in 7 images one after an"
    ):
        next(iter(PseudoLabelStream(dark, label_bright, name="wild", patience=7)))
    broken = itertools.repeat([source("b.mp4", problem="cut short")])
    with pytest.raises(InputError, match="none of 7 files could be read, the last is b.mp4: cut"):
        next(iter(PseudoLabelStream(broken, label_bright, name="wild", patience=7)))


def test_ratios_are_those_of_single_samples():
    # The annotated stream is batched by 16, the others give single samples; shares do not care.
    annotated = one_by_one([{"name": "a"}] * 16 for _ in itertools.count())
    wild, rare = itertools.repeat({"name": "w"}), itertools.repeat({"name": "r"})
    batches = iter(MixedBatches([annotated, wild, rare], [1, 0.5, 0.25], 4, random.Random(0)))
    drawn = [sample["name"] for batch in itertools.islice(batches, 1750) for sample in batch]
    count = Counter(drawn)
    # 7000 draws with shares 4/7, 2/7 and 1/7; four standard deviations are at most 166.
    assert count["a"] == pytest.approx(4000, abs=166)
    assert count["w"] == pytest.approx(2000, abs=152)
    assert count["r"] == pytest.approx(1000, abs=118)


def test_mixing_keeps_the_order_of_each_stream_and_ends_with_the_first_of_them():
    streams = [iter({"n": n} for n in range(50)), iter({"n": 100 + n} for n in range(50))]
    batches = list(MixedBatches(streams, [1, 1], 3, random.Random(1)))
    assert {len(batch) for batch in batches} == {3}
    drawn = [sample["n"] for batch in batches for sample in batch]
    for first in (0, 100):
        own = [n for n in drawn if first <= n < first + 50]
        assert own == list(range(first, first + len(own)))
    assert len(drawn) > 60


@pytest.mark.parametrize("ratios", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_ratios_that_make_no_sense_are_refused(ratios: list[float]):
    with pytest.raises(InputError, match="2 streams need as many positive ratios"):
        MixedBatches([[], []], ratios, 2, random.Random(0))
