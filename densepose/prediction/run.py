"""What ``densepose predict`` does: config, weights and files to a folder of results."""

from __future__ import annotations

import hashlib
import logging
import statistics
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

import densepose
from densepose.config import check_config, find_config, load_config
from densepose.engine.logs import setup_logging
from densepose.engine.predictor import load_predictor
from densepose.engine.prepare import choose_device
from densepose.model_zoo.files import find_shipped_model, resolve_weights
from densepose.model_zoo.table import SCHEME, find
from densepose.progress import track

from .page import write_page
from .photos import find_inputs
from .results_folder import PAGE, ResultsFolder
from .work import Predict, Wanted, predict_file

logger = logging.getLogger(__name__)

_MOST_NAMED = 10


@dataclass
class Tally:
    """Running sums over the files of one call."""

    done: int = 0
    skipped: int = 0
    images: int = 0  # photos and frames
    people: int = 0
    # Of a photo, or of a frame of a video on average; the first one also warms up.
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def predict_command(args: Namespace) -> tuple[str, int]:
    """Predict, write the page; what to tell at the end and the exit status.

    Raises:
        FileExistsError: the folder of results holds something else.
        FileNotFoundError: a file, the config or the weights are missing.
        ValueError: arguments, config and weights do not fit together.
    """
    paths = find_inputs(args.inputs, Path(args.output))
    setup_logging(None)
    config, cfg = model_config(args.config_file, args.weights, args.opts)
    weights = resolve_weights(cfg.MODEL.WEIGHTS, cfg.MODEL.ZOO_DIR) if cfg.MODEL.WEIGHTS else ""
    settings = _settings(args, cfg, weights)
    predict = load_predictor(cfg, min_score=args.min_score, largest=args.largest)
    folder = ResultsFolder(args.output, settings, overwrite=args.overwrite)
    wanted = Wanted(args.save_predictions, args.save_iuv, args.picture_size, args.frame_step)
    tally = predict_files(paths, predict, folder, wanted)
    about = {
        "config": config,
        "weights": str(weights),
        "people": f"score at least {args.min_score:g}"
        + (f", the {args.largest} largest of a photo" if args.largest else ""),
        "version": f"densepose {densepose.__version__}",
    }
    write_page(folder, about)
    return told(tally, folder.folder / PAGE), 1 if tally.failed else 0


def predict_files(
    paths: Sequence[Path], predict: Predict, folder: ResultsFolder, wanted: Wanted
) -> Tally:
    """Predict the files that have no results yet; one that cannot be read does not end it."""
    tally = Tally()
    for path in track(paths, total=len(paths), label="predict"):
        if folder.is_finished(path):
            tally.skipped += 1
            continue
        try:
            entry = predict_file(path, predict, folder, wanted)
        except (ValueError, OSError) as error:
            logger.warning("%s", error)
            tally.failed.append(str(error))
            folder.finish({**folder.start(path), "error": str(error)})
            continue
        folder.finish(entry)
        tally.done += 1
        frames = entry.get("frames", 1)
        tally.images += frames
        tally.people += entry["people"]
        tally.seconds.append(entry["seconds"] / frames)
    return tally


def told(tally: Tally, page: Path) -> str:
    """The lines for the end of the command, the last one says where the results are."""
    lines = []
    if tally.failed:
        lines.append(f"not readable: {len(tally.failed)}")
        lines += [f"  {text}" for text in tally.failed[:_MOST_NAMED]]
        more = len(tally.failed) - _MOST_NAMED
        lines += [f"  ... and {more} more, see photos.jsonl beside the page"] * (more > 0)
    each = f", {statistics.median(tally.seconds):.2f} s each (median)" if tally.seconds else ""
    before = f", {tally.skipped} were finished before" if tally.skipped else ""
    failed = f", {len(tally.failed)} not readable" if tally.failed else ""
    lines.append(f"{page}: {tally.people} people in {tally.images} images{each}{before}{failed}")
    return "\n".join(lines)


def model_config(config_file: str, weights: str | None, opts: Sequence[str]) -> tuple[str, CfgNode]:
    """Name of the config, and the checked config with MODEL.WEIGHTS and a device that exists.

    Without a config file: that of a released model for ``zoo://NAME``, that of the shipped weights
    where no weights are given either.
    """
    if not config_file and not weights and "MODEL.WEIGHTS" not in opts:
        config_file, weights = find_shipped_model()
    elif not config_file and (weights or "").startswith(SCHEME):
        config_file = find(weights.removeprefix(SCHEME)).config
    elif not config_file:
        raise ValueError("weights need their config: give --config-file FILE too")
    given = ["MODEL.WEIGHTS", str(weights)] if weights else []
    cfg = choose_device(load_config(find_config(config_file), [*given, *opts]))
    check_config(cfg)
    return config_file, cfg


def _settings(args: Namespace, cfg: CfgNode, weights: Path | str) -> dict[str, Any]:
    """What results depend on; those of other values do not belong into the same folder."""
    changing = cfg.clone()
    changing.defrost()
    changing.OUTPUT_DIR = changing.MODEL.DEVICE = ""
    return {
        "weights": str(weights),
        "config_sha256": hashlib.sha256(changing.dump().encode()).hexdigest(),
        "min_score": args.min_score,
        "largest": args.largest,
        "save_predictions": args.save_predictions,
        "save_iuv": args.save_iuv,
        "picture_size": args.picture_size,
        "frame_step": args.frame_step,
    }
