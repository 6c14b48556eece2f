"""The evaluator beside the numbers of detectron2's, on generated sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.upstream import evaluator, golden, our_side
from tools.upstream.generated import generated_set, generated_surface

WANT = golden.read(Path(__file__).with_name("evaluator.json"))


@pytest.fixture(scope="module")
def surface():
    return generated_surface(0, WANT["vertices_per_part"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", evaluator.KINDS)
def test_every_table(kind: str, surface):
    made = generated_set(kind, 0, WANT["images"])
    got = our_side.evaluation_tables(made.ground_truth, made.predictions, surface)
    assert list(got) == list(WANT[kind])
    for name, want in WANT[kind].items():
        names = evaluator.metric_names(evaluator.TABLES[name].minimum)
        assert got[name] == pytest.approx(dict(zip(names, want, strict=True)), abs=1e-9), name
