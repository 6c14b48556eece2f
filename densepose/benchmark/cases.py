"""What is measured: cases, full and quick ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

R50 = "densepose_rcnn_R_50_FPN_s1x"
DEMO = "cpu/densepose_rcnn"
NEAR_PERSON, ANYWHERE = "near", "anywhere"

# A model small enough that a run takes well under a second; for --quick and tests.
SMALL = (
    "MODEL.RESNETS.DEPTH 18 MODEL.RESNETS.RES2_OUT_CHANNELS 64 MODEL.FPN.OUT_CHANNELS 32"
    " MODEL.ROI_BOX_HEAD.FC_DIM 64 MODEL.RPN.POST_NMS_TOPK_TEST 50"
    " MODEL.RPN.POST_NMS_TOPK_TRAIN 50 MODEL.ROI_DENSEPOSE_HEAD.NUM_STACKED_CONVS 2"
    " MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM 32 MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS 32"
    " MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES 32"
).split()


@dataclass(frozen=True)
class Case:
    """One row of the table: the same work for every contestant."""

    name: str
    kind: Literal["inference", "conversion", "training", "loading", "evaluation", "surface"]
    config: str = R50  # below configs/, without .yaml
    opts: tuple[str, ...] = ()
    images: int = 1  # of a batch; of the data set for loading and evaluation
    # Arguments of inputs.make_picture, of generated_files.write_surface_files, or "charts" of
    # inputs.make_charts with the "box" (width, height) in px that they are brought to.
    picture: dict[str, Any] = field(default_factory=dict)
    upstream: bool = True  # whether detectron2's DensePose has this model

    @property
    def needs_data(self) -> bool:
        """Whether the case reads a data set instead of pictures made on the spot."""
        return self.kind in ("loading", "evaluation", "surface")


def all_cases(*, quick: bool = False) -> list[Case]:
    """Every case; the quick ones have small models, images and data sets."""
    small = tuple(SMALL) if quick else ()
    photo, thumbnail, square = (
        ((96, 128), (64, 96), 128) if quick else ((800, 1100), (240, 320), 512)
    )
    cases = [
        _inference(size, people, small) for size in (photo, thumbnail) for people in (1, 5, 20)
    ]
    cases += [_conversion(people, quick=quick) for people in (5, 20)]
    cases += [_training(square, rois, small) for rois in (12, 50)]
    demo = {"size": (128, 128) if quick else (256, 256), "people": 2, "near": 12, "anywhere": 180}
    cases.append(Case("training, demo config", "training", DEMO, (), 4, demo, upstream=False))
    images = 4 if quick else 100
    cases.append(Case(f"data loading, {images} images", "loading", images=images))
    return cases + _evaluation_cases(4 if quick else 1500) + _surface_cases(photo)


def select(cases: list[Case], words: list[str], device: str = "cpu") -> list[Case]:
    """The cases whose name contains one of the words; all without words.

    On another device than the CPU only those that run a model.

    Raises:
        ValueError: a word is in no name.
    """
    if device != "cpu":
        cases = [case for case in cases if case.kind in ("inference", "training")]
    for word in words:
        if not any(word in case.name for case in cases):
            names = "; ".join(case.name for case in cases)
            raise ValueError(f"--only {word}: no case has this in its name; there are: {names}")
    return [case for case in cases if not words or any(word in case.name for word in words)]


def _inference(size: tuple[int, int], people: int, opts: tuple[str, ...]) -> Case:
    name = f"inference {size[0]}x{size[1]}, {people} {'person' if people == 1 else 'people'}"
    return Case(name, "inference", R50, opts, 1, {"size": size, "people": people})


def _conversion(people: int, *, quick: bool) -> Case:
    """Chart output to labels and UV of people as large as in a photo; the model is not run."""
    width, height = (30, 50) if quick else (297, 507)
    picture = {"charts": {"people": people, "side": 56}, "box": (width, height)}
    name = f"chart output to result, {people} people of {width}x{height}"
    return Case(name, "conversion", picture=picture)


def _evaluation_cases(images: int) -> list[Case]:
    """About as many images as minival has; twice as many show what grows with their number."""
    name = f"evaluation, {images} images"
    return [
        Case(name, "evaluation", images=images),
        # detectron2's class gets annotations and predictions that are in memory, in both cases.
        Case(f"{name}, read before", "evaluation", opts=("in memory",), images=images),
        Case(f"evaluation, {2 * images} images", "evaluation", images=2 * images, upstream=False),
    ]


def _surface_cases(size: tuple[int, int]) -> list[Case]:
    """IUV to the body and textures, on one image; detectron2 puts textures, nothing else."""
    works = {
        "triangles": "IUV to triangles",
        "vertices": "IUV to vertices",
        "points": "IUV to 3-D points",
        "take": "texture taken",
        "put": "texture put",
        "put nearest": "texture put, nearest texel",
    }
    where = f"surface {size[0]}x{size[1]}"
    return [
        Case(
            f"{where}, {title}",
            "surface",
            opts=(work,),
            picture={"size": size, "people": 3},
            upstream=work == "put nearest",
        )
        for work, title in works.items()
    ]


def _training(side: int, rois: int, opts: tuple[str, ...]) -> Case:
    """Two images of three people; the people's own boxes are proposals, too."""
    picture = {"size": (side, side), "people": 3, "near": rois // 2 - 3, "anywhere": 500}
    return Case(f"training 2x{side}x{side}, {rois} RoIs", "training", R50, opts, 2, picture)
