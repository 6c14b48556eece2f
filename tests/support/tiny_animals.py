"""The data that configs/evolution name, tiny, below one folder; for tests only.

The people and animals are the dolls of ``tiny_dataset``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from tests.support.tiny_dataset import write_tiny_densepose_coco

# Taken in turn: person, cat, giraffe, chair; the last is on no whitelist.
CATEGORY_IDS = (1, 17, 25, 62)


def write_tiny_animals(root: Path) -> None:
    """COCO 2017 with masks, DensePose-COCO, and chimpanzees to test on, three images each."""
    coco, chimps = root / "coco", root / "densepose_chimps"
    (coco / "annotations").mkdir(parents=True)
    places = {
        "instances_train2017.json": "train2017",
        "instances_val2017.json": "val2017",
        "densepose_train2014.json": "train2014",
    }
    for seed, (file, images) in enumerate(places.items()):
        json_path, folder = write_tiny_densepose_coco(root / "made", num_images=3, seed=seed)
        content = json.loads(json_path.read_text())
        if file.startswith("instances"):
            _make_animals(content)
        (coco / "annotations" / file).write_text(json.dumps(content))
        shutil.move(folder, coco / images)
    json_path, folder = write_tiny_densepose_coco(chimps, num_images=3, seed=9)
    json_path.rename(chimps / "densepose_chimps_densepose.json")


def _make_animals(content: dict) -> None:
    """Other categories and no body points, as in the files of COCO; in place."""
    for number, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = CATEGORY_IDS[number % len(CATEGORY_IDS)]
        for key in [k for k in annotation if k.startswith("dp_") or "keypoints" in k]:
            del annotation[key]
    content["categories"] = [
        {"id": entry["id"], "name": entry["name"]} for entry in COCO_CATEGORIES if entry["isthing"]
    ]


def write_tiny_videos(root: Path, images: Path) -> None:
    """The videos that ``chimpnsee`` names: two of four frames, every second a key frame."""
    import av

    folder = root / "chimpnsee" / "cdna.eva.mpg.de"
    folder.mkdir(parents=True)
    paths = sorted(images.glob("*.jpg"))
    names = [f"clip{number}.mp4" for number in range(2)]
    for name in names:
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=5)
            height, width = np.asarray(Image.open(paths[0])).shape[:2]
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"g": "2"}
            for path in [*paths, paths[0]]:
                frame = av.VideoFrame.from_ndarray(np.asarray(Image.open(path)), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (folder / "video_list.txt").write_text("\n".join(names))
