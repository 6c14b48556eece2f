"""Run detectron2's DensePose evaluator beside ours on generated sets and report the differences.

Needs a checkout of detectron2 (its projects/DensePose is not on PyPI); nothing of it is part of
this repository. Stand-ins of the licensed SMPL files are generated in the same form.

    python tools/compare_evaluation_with_detectron2.py --detectron2 PATH
    python tools/compare_evaluation_with_detectron2.py --detectron2 PATH --sets noisy --images 500

Exit status 0 when every number is equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MODES = {"GPS": "densepose_gps", "GPSM": "densepose_gpsm", "IOU": "densepose_iou"}
# Further tables: name -> upstream's mode, its data mode, smallest threshold, our oracle and table.
# Its other two data modes stop with an error.
VARIANTS = {
    "I, U, V from the truth": ("GPS", "IUV_GT", 0.5, "iuv", "densepose_gps"),
    "I from the truth": ("GPS", "I_GT_UV_DT", 0.5, "part", "densepose_gps"),
    "GPSM from 0.2 on": ("GPSM", "IUV_DT", 0.2, "none", "densepose_gpsm"),
    "IOU from 0.3 on": ("IOU", "IUV_DT", 0.3, "none", "densepose_iou"),
}
METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def main() -> int:
    """Run as the command line says; each evaluator in a process of its own, for its memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detectron2", type=Path, required=True, help="checkout of detectron2")
    parser.add_argument("--sets", nargs="+", default=["easy", "noisy", "adversarial"])
    parser.add_argument("--images", type=int, default=60, help="images in each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--vertices-per-part",
        type=int,
        default=60,
        help="size of the stand-in surface; 1250 makes files about as large as the official ones",
    )
    parser.add_argument("--work-dir", type=Path, help="keep the files here (default: temporary)")
    parser.add_argument("--run", choices=("detectron2", "ours"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run == "detectron2":
        return run_detectron2(args.work_dir)
    if args.run == "ours":
        return run_ours(args.work_dir)
    project = args.detectron2 / "projects" / "DensePose"
    if not (project / "densepose" / "evaluation").is_dir():
        parser.error(f"{project}: no DensePose project there; --detectron2 takes a checkout")
    if args.work_dir:
        return compare(args, project, args.work_dir)
    with tempfile.TemporaryDirectory(prefix="densepose_compare_") as folder:
        return compare(args, project, Path(folder))


def compare(args: argparse.Namespace, project: Path, work_dir: Path) -> int:
    """Make the files, run both evaluators on every set, print the differences."""
    from densepose.evaluation.generated import generated_set, generated_surface
    from densepose.evaluation.predictions import PredictionWriter
    from densepose.surface.official.export import write_official_files
    from densepose.surface.official.surface import load_official_surface

    official = work_dir / "official"
    surface = generated_surface(args.seed, args.vertices_per_part)
    charts, distances = surface.charts, surface.distances
    write_official_files(
        official,
        uv=charts.uv,
        part=charts.part,
        mesh_vertex=charts.mesh_vertex,
        distances_m=distances.triangle,
    )
    # Conversion happens once in the life of a data set; it is not part of an evaluation.
    load_official_surface(official, num_vertices=distances.num_vertices)
    equal = True
    for kind in args.sets:
        folder = work_dir / kind
        folder.mkdir(parents=True, exist_ok=True)
        made = generated_set(kind, args.seed, args.images)
        (folder / "truth.json").write_text(json.dumps(made.ground_truth))
        (folder / "surface.json").write_text(
            json.dumps({"official": str(official), "num_vertices": distances.num_vertices})
        )
        writer = PredictionWriter(folder / "predictions")
        writer.clear()
        for prediction in made.predictions:
            writer.write(prediction)
        theirs = _in_process("detectron2", folder, project)
        ours = _in_process("ours", folder, None)
        equal &= report(kind, theirs, ours)
    return 0 if equal else 1


def report(kind: str, theirs: dict, ours: dict) -> bool:
    """Print the differences on one set; True when there are none."""
    counts = ", ".join(f"{ours[name]} {name}" for name in ("images", "people", "detections"))
    print(f"\n{kind}: {counts}")
    largest = 0.0
    for mode, table in MODES.items():
        # Upstream writes -100 where there is nobody to find, we say NaN.
        want = np.array([np.nan if v <= -99 else v for v in theirs["tables"][mode]])
        got = np.array([np.nan if v is None else v for v in ours["tables"][table]])
        same_holes = np.array_equal(np.isnan(want), np.isnan(got))
        difference = float(np.nanmax(np.abs(want - got), initial=0)) if same_holes else np.inf
        largest = max(largest, difference)
        shown = " ".join(f"{n} {v:.3f}" for n, v in zip(METRICS, got, strict=True))
        print(f"  {mode:5s} largest difference {difference:g} | ours: {shown}")
    for name in VARIANTS:
        want = np.array([np.nan if v <= -99 else v for v in theirs["variants"][name]])
        got = np.array([np.nan if v is None else v for v in ours["variants"][name]])
        same = want.shape == got.shape and np.array_equal(np.isnan(want), np.isnan(got))
        difference = float(np.nanmax(np.abs(want - got), initial=0)) if same else np.inf
        largest = max(largest, difference)
        print(f"  {name}: largest difference {difference:g} of {len(got)} numbers")
    similarity = max(
        (
            float(np.abs(np.array(theirs["gps"][key]) - np.array(ours["gps"][key])).max(initial=0))
            for key in theirs["gps"]
        ),
        default=0.0,
    )
    print(f"  largest difference of a GPS of {len(ours['gps'])} images: {similarity:g}")
    for name, title in (("seconds", "time"), ("cpu_seconds", "CPU time")):
        print(
            f"  {title}: detectron2 {theirs[name]:.2f} s (predictions in memory), ours"
            f" {ours[name]:.2f} s (from files), ratio {theirs[name] / ours[name]:.1f}"
        )
    print(
        f"  memory added at the peak: detectron2 {theirs['peak_mib']:.0f} MiB, ours"
        f" {ours['peak_mib']:.0f} MiB"
    )
    return largest == 0.0 and similarity == 0.0


def _in_process(which: str, folder: Path, project: Path | None) -> dict:
    environment = dict(os.environ)
    # Both packages are called densepose: whichever comes first on the path is the one that is seen.
    first = str(project) if project else str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(
        [first, *filter(None, [environment.get("PYTHONPATH")])]
    )
    command = (
        [sys.executable, "-P", __file__]
        if sys.version_info >= (3, 11)
        else [sys.executable, __file__]
    )
    command += ["--run", which, "--work-dir", str(folder), "--detectron2", "."]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the run of {which} on {folder} failed:\n{done.stderr[-4000:]}")
    return json.loads((folder / f"{which}.json").read_text())


def run_ours(folder: Path) -> int:
    """Evaluate with this project; called in a process of its own."""
    from densepose.evaluation import evaluate as module
    from densepose.surface.official.surface import load_official_surface

    place = json.loads((folder / "surface.json").read_text())
    before = _peak_mib()
    start, cpu_start = time.perf_counter(), time.process_time()
    surface = load_official_surface(place["official"], num_vertices=place["num_vertices"])
    result = module.evaluate_densepose(
        folder / "truth.json", folder / "predictions", surface, detection_scores=False
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak_mib = _peak_mib() - before
    tables = {name: [result.tables[name][m] for m in METRICS] for name in MODES.values()}
    tables = {n: [None if np.isnan(v) else v for v in row] for n, row in tables.items()}
    content = {
        "tables": tables,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mib": peak_mib,
        "gps": _our_similarities(folder, surface),
        "variants": _our_variants(folder, surface),
        **result.counts,
    }
    (folder / "ours.json").write_text(json.dumps(content))
    return 0


def _our_variants(folder: Path, surface) -> dict[str, list]:
    """The numbers of VARIANTS, outside the timed part."""
    from densepose.evaluation.evaluate import evaluate_densepose

    variants = {}
    for name, (_, _, minimum, oracle, table) in VARIANTS.items():
        result = evaluate_densepose(
            folder / "truth.json",
            folder / "predictions",
            surface,
            oracle=oracle,
            min_threshold=minimum,
            detection_scores=False,
        )
        values = result.tables[table].values()
        variants[name] = [None if np.isnan(value) else value for value in values]
    return variants


def _our_similarities(folder: Path, surface) -> dict[str, list]:
    """GPS of every (detection, person) pair, by image: measured again, outside the timed part."""
    from densepose.evaluation.ground_truth import GroundTruth
    from densepose.evaluation.masks import without_ignored
    from densepose.evaluation.pairs import ImagePairs, PointScorer, pack_detections
    from densepose.evaluation.predictions import read_predictions

    truth = GroundTruth.load(folder / "truth.json")
    scorer = PointScorer(surface)
    similarities = {}
    for prediction in read_predictions(folder / "predictions"):
        image_id = prediction.image_id
        people, found = without_ignored(
            truth.people([image_id]),
            pack_detections([prediction], [truth.image_size(image_id)]),
            [truth.ignore_polygons(image_id)],
            only_inside_image=True,
        )
        pairs = ImagePairs(people, found.best(20))
        if len(pairs):
            gps = scorer(pairs).gps.reshape(len(pairs.detections), len(people))
            similarities[str(image_id)] = gps.tolist()
    return similarities


def run_detectron2(folder: Path) -> int:
    """Evaluate with detectron2's class; called in a process that sees its densepose package."""
    import contextlib
    import io
    from types import SimpleNamespace
    from unittest.mock import MagicMock

    import torch

    # Importing upstream's package imports its video loader; evaluation needs no video.
    sys.modules.setdefault("av", MagicMock())
    from pycocotools.coco import COCO

    from densepose.evaluation import densepose_coco_evaluation as upstream

    place = json.loads((folder / "surface.json").read_text())

    def local_path(url: str, **_: object) -> str:
        return str(Path(place["official"]) / url.rsplit("/", 1)[-1])

    # The class downloads its files, with an option that newer iopath rejects.
    upstream.PathManager = SimpleNamespace(get_local_path=local_path)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
    results = []
    for path in sorted((folder / "predictions").glob("*.npz")):
        with np.load(path) as file:
            results += _results_of_image(dict(file), torch, SimpleNamespace)
    found = truth.loadRes(results)
    before = _peak_mib()
    start, cpu_start = time.perf_counter(), time.process_time()
    tables, gps = {}, {}
    for mode in MODES:
        evaluator = _upstream_scores(upstream, truth, found, mode)
        tables[mode] = [float(value * 100) for value in evaluator.stats]
        # The values of the last mode are those of the first; the evaluator itself holds gigabytes.
        gps = {str(k[0]): v[0].tolist() for k, v in evaluator.ious.items() if len(v)}
        del evaluator
    content = {
        "tables": tables,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "peak_mib": _peak_mib() - before,
        "gps": gps,
        "variants": {},
    }
    for name, (mode, data_mode, minimum, _, _) in VARIANTS.items():
        stats = _upstream_scores(upstream, truth, found, mode, data_mode, minimum).stats
        content["variants"][name] = [float(value * 100) for value in stats]
    (folder / "detectron2.json").write_text(json.dumps(content))
    return 0


def _upstream_scores(
    upstream, truth, found, mode: str, data_mode: str = "IUV_DT", minimum: float = 0.5
):
    """detectron2's evaluator after one pass."""
    evaluator = upstream.DensePoseCocoEval(
        truth,
        found,
        "densepose",
        dpEvalMode=getattr(upstream.DensePoseEvalMode, mode),
        dpDataMode=getattr(upstream.DensePoseDataMode, data_mode),
    )
    if minimum < 0.5:
        # As its own loop sets a smaller threshold.
        steps = int(np.round((0.95 - minimum) / 0.05)) + 1
        evaluator.params.iouThrs = np.linspace(minimum, 0.95, steps, endpoint=True)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


def _results_of_image(arrays: dict, torch, namespace) -> list[dict]:
    """The dicts that detectron2's evaluator makes of one image's predictions."""
    corners = torch.as_tensor(arrays["boxes_xyxy_px"])
    boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1)
    results = []
    start = 0
    for box, score, (height, width) in zip(
        boxes.tolist(), arrays["scores"].tolist(), arrays["map_sizes"].tolist(), strict=True
    ):
        stop = start + height * width
        labels = arrays["labels"][start:stop].reshape(1, height, width)
        uv = arrays["uv"][2 * start : 2 * stop].reshape(2, height, width)
        start = stop
        maps = torch.as_tensor(np.concatenate([labels, uv]))
        results.append(
            {
                "image_id": int(arrays["image_id"]),
                "category_id": 1,
                "bbox": box,
                "score": score,
                "densepose": namespace(labels_uv_uint8=maps),
                "segmentation": [],
            }
        )
    return results


def _peak_mib() -> float:
    """Peak resident memory of this process; getrusage would count its parent's, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
