"""Pseudo-labels and category maps beside those of detectron2's DensePose."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tools.upstream import bootstrap, golden, our_side

WANT = golden.read(Path(__file__).with_name("bootstrap.json"))


def test_samples_and_categories(tmp_path: Path):
    bootstrap.write_annotations(tmp_path, 0)
    assert golden.bootstrap_differences(our_side.bootstrap_samples(tmp_path, 0), WANT) == []


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("all pixels", "uv", "all pixels: uv differ"),
        ("densepose_uniform few", "parts", "densepose_uniform few: parts differ"),
        ("densepose_UV_confidence union", "places", "densepose_UV_confidence union: places differ"),
        ("categories", "sha256", "categories: sha256 differ"),
        ("masks", "part masks", "masks: part masks differ"),
    ],
)
def test_a_difference_is_found(name: str, kind: str, sentence: str):
    got = copy.deepcopy(WANT)
    assert golden.bootstrap_differences(got, WANT) == []
    value = got[name][kind]
    if kind == "uv":
        value[0][0][1] += 1e-3
    elif kind == "parts":
        value[0]["3"] += 1
    elif kind == "sha256":
        got[name][kind] = "0"
    else:
        value[0], value[1] = value[1], value[0]
    assert golden.bootstrap_differences(got, WANT) == [sentence]
