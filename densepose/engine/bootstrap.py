"""Batches of annotated images mixed with images that a teacher labels during training.

Sanakoyeu et al., "Transferring Dense Pose to Proximal Animal Classes", CVPR 2020.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from detectron2.config import CfgNode
from detectron2.data.build import trivial_batch_collator, worker_init_reset_seed
from detectron2.data.samplers import TrainingSampler
from detectron2.structures import Instances
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage

from densepose.config import SAMPLERS, bootstrap_entries
from densepose.data.bootstrap.image_sources import (
    ImageSource,
    ReadImage,
    ReadKeyFrames,
    list_images,
)
from densepose.data.bootstrap.point_sampling import sample_points
from densepose.data.bootstrap.pseudo_labels import pseudo_truth
from densepose.data.bootstrap.streams import MixedBatches, PseudoLabelStream, Sample, one_by_one
from densepose.data.bootstrap.videos import (
    VIDEO_SETS,
    read_key_frame_table,
    read_path_list,
    require_video_reader,
)
from densepose.data.registration import datasets_root, expand_path
from densepose.errors import InputError
from densepose.modeling.body_pixels import body_pixels
from densepose.workers import start_data_worker

from .checkpoint import load_for_inference
from .loaders import build_train_loader, num_workers
from .model import build_run_model

logger = logging.getLogger(__name__)

ANNOTATED = "annotated"  # name of the ordinary data sets in the counts
BEST_FRACTION = 0.5  # of a part's pixels, among which a sampler by confidence draws


def build_training_batches(cfg: CfgNode) -> Iterable[list[Sample]]:
    """Endless batches of this process's shard of SOLVER.IMS_PER_BATCH images.

    Without BOOTSTRAP_DATASETS they are those of ``build_train_loader``. Else each image comes from
    the annotated sets with weight 1 or from a bootstrap set with its RATIO.
    """
    loader = build_train_loader(cfg)
    entries = bootstrap_entries(cfg)
    if not entries:
        return loader
    teacher = build_teacher(cfg)
    streams: list[Iterable[Sample]] = [one_by_one(loader)]
    streams += [build_stream(cfg, entry, teacher) for entry in entries]
    names = [ANNOTATED, *(entry.DATASET for entry in entries)]
    ratios = [1.0, *(entry.RATIO for entry in entries)]
    per_process = cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size()
    logger.info(
        "A batch of %d is drawn from %s",
        per_process,
        ", ".join(f"{n} {100 * r / sum(ratios):.0f}%" for n, r in zip(names, ratios, strict=True)),
    )
    return counted(MixedBatches(streams, ratios, per_process, _new_random()), names)


def build_teacher(cfg: CfgNode) -> nn.Module:
    """The model of the config with BOOTSTRAP_MODEL.WEIGHTS on BOOTSTRAP_MODEL.DEVICE.

    Raises:
        InputError: the weights leave parts of the model random, and MODEL.ALLOW_RANDOM_HEAD is off.
    """
    own = cfg.clone()
    own.defrost()
    own.MODEL.DEVICE = cfg.BOOTSTRAP_MODEL.DEVICE
    teacher = build_run_model(own)
    if cfg.BOOTSTRAP_MODEL.WEIGHTS:
        folder = Path(cfg.OUTPUT_DIR) / "teacher"
        load_for_inference(cfg, teacher, cfg.BOOTSTRAP_MODEL.WEIGHTS, folder)
    return teacher.eval().requires_grad_(False)


def build_stream(cfg: CfgNode, entry: CfgNode, teacher: nn.Module) -> PseudoLabelStream:
    """The samples of one entry of BOOTSTRAP_DATASETS."""
    source = build_source(entry, cfg.INPUT.FORMAT)
    loader = DataLoader(
        source,
        batch_size=entry.IMAGE_LOADER.BATCH_SIZE,
        sampler=TrainingSampler(len(source)),
        num_workers=num_workers(entry.IMAGE_LOADER.NUM_WORKERS),
        collate_fn=trivial_batch_collator,
        worker_init_fn=_start_worker,
    )
    return PseudoLabelStream(
        loader,
        Labeller.from_config(cfg, entry, teacher),
        name=entry.DATASET,
        images_at_once=entry.INFERENCE.INPUT_BATCH_SIZE,
        rng=_new_random(),
    )


def _start_worker(number: int) -> None:
    start_data_worker(number)
    worker_init_reset_seed(number)


def build_source(entry: CfgNode, image_format: str) -> ImageSource:
    """The files of one entry; "~" and environment variables in its paths are expanded.

    Raises:
        InputError: a list or a folder is missing; there are no files, PATH is missing, or PyAV is.
    """
    loader = entry.IMAGE_LOADER
    known_set = VIDEO_SETS.get(entry.DATASET) if loader.TYPE == "video_keyframe" else None
    if not loader.PATH and known_set is None:
        raise InputError(
            f"BOOTSTRAP_DATASETS: {entry.DATASET!r} is no known set of videos"
            f" ({', '.join(VIDEO_SETS)}); give IMAGE_LOADER.PATH"
        )
    if loader.TYPE == "image_folder":
        paths = list_images(expand_path(loader.PATH))
    elif loader.PATH:
        paths = read_path_list(expand_path(loader.PATH))
    else:
        paths = read_path_list(
            datasets_root() / known_set.video_list, datasets_root() / known_set.base
        )
    read = ReadImage(image_format)
    if loader.TYPE == "video_keyframe":
        require_video_reader()
        helper = loader.KEYFRAME_HELPER
        read = ReadKeyFrames(
            image_format,
            loader.SELECT.STRATEGY,
            loader.SELECT.NUM_IMAGES,
            read_key_frame_table(expand_path(helper)) if helper else {},
        )
    sizes = loader.TRANSFORM
    return ImageSource(paths, read, min_size=sizes.MIN_SIZE, max_size=sizes.MAX_SIZE)


def check_source(entry: CfgNode, image_format: str) -> None:
    """Read the first file of an entry.

    Raises:
        InputError: a list or a folder is missing; see ``build_source``; or the file cannot be read.
    """
    if problem := build_source(entry, image_format)[0].problem:
        raise InputError(problem)


@dataclass(frozen=True)
class Labeller:
    """Runs the teacher, keeps what it is sure of, and draws points from it."""

    teacher: Callable[[list[dict[str, Tensor]]], list[dict[str, Instances]]]
    _: KW_ONLY
    certainty: str | None  # channel that points are chosen by, see ``body_pixels``; None: uniformly
    per_part: int  # most points of a part of an instance
    largest: bool  # draw among the largest values of the channel
    min_score: float  # instances with a lower score are dropped
    use_masks: bool  # give ``gt_masks``
    generator: torch.Generator  # of the choice of points

    @classmethod
    def from_config(cls, cfg: CfgNode, entry: CfgNode, teacher: nn.Module) -> Labeller:
        """A labeller as one entry of BOOTSTRAP_DATASETS wants it."""
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        return cls(
            teacher,
            certainty=SAMPLERS[entry.DATA_SAMPLER.TYPE][0],
            per_part=entry.DATA_SAMPLER.COUNT_PER_CLASS,
            largest=entry.DATA_SAMPLER.MOST_CONFIDENT,
            min_score=entry.FILTER.MIN_VALUE,
            use_masks=cfg.MODEL.MASK_ON or head.COARSE_SEGM_TRAINED_BY_MASKS,
            generator=torch.Generator().manual_seed(_new_random().getrandbits(63)),
        )

    @torch.no_grad()
    def __call__(self, images: list[Tensor]) -> list[Instances]:
        """(3, H, W) images -> what is to be learnt from each, on the CPU."""
        outputs = self.teacher([{"image": image} for image in images])
        return [self._truth(output["instances"]) for output in outputs]

    def _truth(self, found: Instances) -> Instances:
        found = found[found.scores >= self.min_score]
        pixels = body_pixels(found.pred_densepose, found.pred_boxes.tensor, self.certainty)
        chosen = sample_points(
            pixels,
            self.per_part,
            best_fraction=None if self.certainty is None else BEST_FRACTION,
            largest=self.largest,
            generator=self.generator,
        )
        return pseudo_truth(
            pixels,
            chosen,
            found.pred_classes.cpu(),
            found.image_size,
            use_masks=self.use_masks,
        )


def counted(batches: Iterable[list[Sample]], names: list[str]) -> Iterator[list[Sample]]:
    """The same batches; the curves get how many instances of each source are in them."""
    for batch in batches:
        counts = dict.fromkeys(names, 0)
        for sample in batch:
            name = sample.get("dataset")
            counts[name if name in counts else ANNOTATED] += len(sample["instances"])
        get_event_storage().put_scalars(**{f"batch/{name}": n for name, n in counts.items()})
        yield batch


def _new_random() -> random.Random:
    """Random numbers of their own, which follow the seed of the process."""
    return random.Random(random.getrandbits(64))
