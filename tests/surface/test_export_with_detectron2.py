"""Exported files read by detectron2's own loaders and evaluator, where a checkout is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.predictions import PredictionWriter
from densepose.surface.evaluation_surface import EvaluationSurface
from densepose.surface.geodesics import GeodesicDistances, packed_size
from densepose.surface.official.charts import load_uv_symmetry
from densepose.surface.official.cse import mesh_paths, read_geometry, read_texcoords
from densepose.surface.official.export import export_surface
from densepose.surface.symmetry import derive_symmetry
from tests.support import ROOT
from tests.support.shapes import patchwork_atlas
from tools.upstream.generated import generated_set

CHECKOUT = os.environ.get("DETECTRON2_CHECKOUT")
METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
TABLES = {"GPS": "densepose_gps", "GPSM": "densepose_gpsm", "IOU": "densepose_iou"}
NAME = "patchwork_600"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHECKOUT, reason="DETECTRON2_CHECKOUT names no checkout of detectron2"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict:
    """What we know of a surface, and what detectron2 read from its exported files."""
    folder = tmp_path_factory.mktemp("exported")
    atlas, mirror = patchwork_atlas(side=5)
    count = atlas.mesh.num_vertices
    rng = np.random.default_rng(0)
    triangle = rng.uniform(0.01, 0.6, packed_size(count)).astype(np.float32)
    distances = GeodesicDistances(triangle, count)
    export_surface(folder, atlas, derive_symmetry(atlas, mirror), mirror, distances, name=NAME)
    made = generated_set("noisy", 0, 12)
    (folder / "truth.json").write_text(json.dumps(made.ground_truth))
    writer = PredictionWriter(folder / "predictions")
    for prediction in made.predictions:
        writer.write(prediction)
    part, uv = rng.integers(1, 25, 2000), rng.uniform(0, 1, (2000, 2)).astype(np.float32)
    np.savez(folder / "points.npz", part=part, uv=uv)
    script = ROOT / "tests" / "support" / "detectron2_reads.py"
    project = Path(CHECKOUT) / "projects" / "DensePose"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), NAME],
        env=os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(folder / "detectron2.npz") as file:
        theirs = dict(file)
    surface = EvaluationSurface("patchwork", atlas, distances)
    return locals()


@pytest.mark.parametrize("mode", TABLES)
def test_its_evaluator_gives_our_numbers(both, mode):
    result = evaluate_densepose(
        both["folder"] / "truth.json",
        both["folder"] / "predictions",
        both["surface"],
        detection_scores=False,
    )
    ours = np.array([result.tables[TABLES[mode]][metric] for metric in METRICS])
    assert ours[0] > 0
    np.testing.assert_array_equal(ours, 100 * both["theirs"][mode])


def test_its_flip_reads_our_tables(both):
    symmetry = load_uv_symmetry(both["folder"] / "UV_symmetry_transforms.mat")
    flipped = symmetry.flip_uv(both["part"], both["uv"])
    np.testing.assert_array_equal(both["theirs"]["flipped"][:, 1:], flipped)
    np.testing.assert_array_equal(both["theirs"]["flipped"][:, 0], symmetry.part[both["part"]])


def test_its_meshes_are_our_mesh(both):
    paths, theirs = mesh_paths(both["folder"], NAME), both["theirs"]
    mesh = read_geometry(paths["geometry"], both["count"])
    np.testing.assert_array_equal(theirs["vertices"], mesh.vertices_m)
    np.testing.assert_array_equal(theirs["faces"], mesh.faces)
    np.testing.assert_array_equal(theirs["mirror"], both["mirror"])
    np.testing.assert_array_equal(
        theirs["texcoords"], read_texcoords(paths["texcoords"], both["count"])
    )
    i, j = np.indices(theirs["geodists"].shape)
    np.testing.assert_array_equal(theirs["geodists"], both["distances"].lookup(i, j))
