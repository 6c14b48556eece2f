"""Run by test_export_with_detectron2.py in a process that sees detectron2's DensePose project.

Reads exported files with detectron2's own loaders and scores generated predictions with its
evaluator; what it got is written to detectron2.npz beside the files.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import torch

# Importing the package imports its video loader; nothing here needs video.
sys.modules.setdefault("av", MagicMock())

MODES = ("GPS", "GPSM", "IOU")


def flips(folder: Path) -> np.ndarray:
    """(P, 3) part, u, v of the points in points.npz after a flip."""
    from densepose.structures import DensePoseDataRelative
    from densepose.structures.transform_data import DensePoseTransformData

    transform = DensePoseTransformData.load(str(folder / "UV_symmetry_transforms.mat"))
    with np.load(folder / "points.npz") as points:
        part, uv = points["part"], points["uv"]
    record = {"dp_x": [1.0] * len(part), "dp_y": [1.0] * len(part), "dp_I": part.tolist()}
    record |= {"dp_U": uv[:, 0].tolist(), "dp_V": uv[:, 1].tolist()}
    data = DensePoseDataRelative(record)
    data._flip_iuv_semantics(transform)
    return torch.stack([data.i, data.u, data.v], dim=1).numpy()


def mesh_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Geometry, distances, mirror images and texture places of a mesh."""
    from densepose.data.meshes.catalog import MeshInfo
    from densepose.structures.mesh import Mesh

    root = folder / "meshes"
    auxiliary = {
        k: str(root / k / f"{k}_{name}.pkl") for k in ("geodists", "symmetry", "texcoords")
    }
    mesh = Mesh(mesh_info=MeshInfo(name=name, data=str(root / f"{name}.pkl"), **auxiliary))
    return {
        "vertices": mesh.vertices.numpy(),
        "faces": mesh.faces.numpy(),
        "geodists": mesh.geodists.numpy(),
        "mirror": mesh.symmetry["vertex_transforms"].numpy(),
        "texcoords": mesh.texcoords.numpy(),
    }


def tables(folder: Path) -> dict[str, np.ndarray]:
    """The ten numbers of each table."""
    from pycocotools.coco import COCO

    from densepose.evaluation import densepose_coco_evaluation as module

    def local_path(url: str, **_: object) -> str:
        return str(folder / url.rsplit("/", 1)[-1])

    # The class downloads its files.
    module.PathManager = SimpleNamespace(get_local_path=local_path)
    results = []
    for path in sorted((folder / "predictions").glob("*.npz")):
        with np.load(path) as arrays:
            results += detections(dict(arrays))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        found = truth.loadRes(results)
    scores = {}
    for mode in MODES:
        evaluator = module.DensePoseCocoEval(
            truth, found, "densepose", dpEvalMode=module.DensePoseEvalMode[mode]
        )
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        scores[mode] = np.asarray(evaluator.stats, np.float64)
    return scores


def detections(arrays: dict[str, np.ndarray]) -> list[dict]:
    """One prediction file of ours as the entries that detectron2 makes of its own results."""
    entries, start = [], 0
    for corners, score, (height, width) in zip(
        arrays["boxes_xyxy_px"], arrays["scores"], arrays["map_sizes"], strict=True
    ):
        size = int(height * width)
        labels = arrays["labels"][start : start + size].reshape(1, height, width)
        uv = arrays["uv"][2 * start : 2 * (start + size)].reshape(2, height, width)
        start += size
        maps = torch.from_numpy(np.concatenate([labels, uv]))
        box = [*corners[:2].tolist(), *(corners[2:] - corners[:2]).tolist()]
        entries.append(
            {
                "image_id": int(arrays["image_id"]),
                "category_id": 1,
                "bbox": box,
                "score": float(score),
                "densepose": SimpleNamespace(labels_uv_uint8=maps),
                "segmentation": [],
            }
        )
    return entries


def main(folder: Path, name: str) -> None:
    """Everything, into one file."""
    content = {"flipped": flips(folder), **mesh_arrays(folder, name), **tables(folder)}
    np.savez(folder / "detectron2.npz", **content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
