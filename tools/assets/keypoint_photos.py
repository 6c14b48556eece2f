"""Photos with COCO keypoints and masks to measure weights on; nothing is trained on them.

    python -m tools.assets.keypoint_photos --output photos_keypoints
    densepose predict photos_keypoints/photos --output found --save npz
    densepose score found --keypoints photos_keypoints/keypoints.json

They are the photos of COCO 2017 that github.com/Obmutescence/COCO-MINI holds with annotations of
people: 79 of val2017 and 80 of train2017, some with nobody in them. COCO's photos are under the
licences their authors gave them; they stay out of this repository. ``photos.csv`` in the folder
lists each photo with its people.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from densepose.files import write_text

SOURCE = "https://github.com/Obmutescence/COCO-MINI"
SPLITS = ("val2017", "train2017")
# Not used: photos that are test files of another project.
RESERVED = (785, 40083, 196141, 197388)


def _read(git_dir: Path, path: str) -> bytes:
    command = ["git", "--git-dir", str(git_dir), "show", f"HEAD:{path}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def collect(git_dir: Path, output: Path) -> dict[str, Any]:
    """Write photos/, keypoints.json and photos.csv below ``output``; returns the annotations."""
    (output / "photos").mkdir(parents=True, exist_ok=True)
    joined: dict[str, Any] = {"images": [], "annotations": []}
    for split in SPLITS:
        found = json.loads(_read(git_dir, f"annotations/person_keypoints_{split}.json"))
        joined["categories"] = found["categories"]
        images = [image for image in found["images"] if image["id"] not in RESERVED]
        kept = {image["id"] for image in images}
        for image in images:
            photo = _read(git_dir, f"{split}/{image['file_name']}")
            (output / "photos" / image["file_name"]).write_bytes(photo)
        joined["images"] += images
        joined["annotations"] += [a for a in found["annotations"] if a["image_id"] in kept]
    write_text(output / "keypoints.json", json.dumps(joined))
    with open(output / "photos.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("photo", "people", "people_with_keypoints", "source"))
        for image in joined["images"]:
            people = [a for a in joined["annotations"] if a["image_id"] == image["id"]]
            with_keypoints = sum(a["num_keypoints"] > 0 for a in people)
            table.writerow((image["file_name"], len(people), with_keypoints, image["flickr_url"]))
    return joined


def main(argv: list[str] | None = None) -> int:
    """Fetch the repository, or read a copy of it, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--git-dir", type=Path, help="a copy of the repository [fetched]")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        git_dir = args.git_dir
        if git_dir is None:
            git_dir = Path(folder) / "repository.git"
            clone = ["git", "clone", "--quiet", "--bare", "--depth", "1", SOURCE, str(git_dir)]
            subprocess.run(clone, check=True)
        joined = collect(git_dir, args.output)
    people = sum(a["num_keypoints"] > 0 for a in joined["annotations"])
    print(f"{args.output}: {len(joined['images'])} photos, {people} people with keypoints")
    return 0


if __name__ == "__main__":
    sys.exit(main())
