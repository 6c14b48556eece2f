"""Time and memory of both packages on the same work, measured side by side.

Each contestant works in a process of its own on equal inputs and weights. Their runs alternate, one
at a time: what else the machine does hits neighbours in time alike.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from densepose.errors import InputError
from densepose.files import markdown_table, write_text
from densepose.ops.accelerate import OPERATORS

from . import process, report
from .inputs import Case

R50 = "densepose_rcnn_R_50_FPN_s1x"
DEMO = "cpu/densepose_rcnn"
TOTAL, CPU_TIME = "total", "CPU time"
# About as many vertices for a part as the official surface has; its distances fill 1.4 GiB.
VERTICES_PER_PART, QUICK_VERTICES = 1250, 20
# A model small enough that a run takes well under a second.
SMALL = (
    *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
    *("MODEL.FPN.OUT_CHANNELS", "32", "MODEL.ROI_BOX_HEAD.FC_DIM", "64"),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", "50", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "50"),
    *("MODEL.ROI_DENSEPOSE_HEAD.NUM_STACKED_CONVS", "2"),
    *("MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM", "32"),
    *("MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS", "32"),
    *("MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES", "32"),
)


@dataclass(frozen=True)
class Work:
    """One row of the table: the same work for every contestant."""

    name: str
    kind: str  # a function of both sides prepares it
    case: Case = field(default_factory=lambda: Case(R50))
    upstream: bool = True  # whether detectron2 can do it


def all_work(*, quick: bool = False) -> list[Work]:
    """Every row; the quick ones have small models, images and data sets."""
    base = Case(R50, SMALL if quick else ())
    photo, thumbnail, side = ((96, 128), (64, 96), 128) if quick else ((800, 1100), (240, 320), 512)
    works = []
    for (height, width), people in [(s, n) for s in (photo, thumbnail) for n in (1, 5, 20)]:
        picture = {"size": (height, width), "people": people}
        name = f"inference {height}x{width}, {people} {'person' if people == 1 else 'people'}"
        works.append(Work(name, "inference", replace(base, picture=picture)))
    width, height = (30, 50) if quick else (297, 507)
    for people in (5, 20):
        picture = {"people": people, "side": 56, "box": (width, height)}
        name = f"chart output to result, {people} people of {width}x{height}"
        works.append(Work(name, "conversion", replace(base, picture=picture)))
    for rois in (12, 50):
        # The people's own boxes are proposals, too.
        picture = {"size": (side, side), "people": 3, "near": rois // 2 - 3, "anywhere": 500}
        case = replace(base, images=2, picture=picture)
        works.append(Work(f"training 2x{side}x{side}, {rois} RoIs", "training", case))
    size = (128, 128) if quick else (256, 256)
    picture = {"size": size, "people": 2, "near": 12, "anywhere": 180}
    demo = Case(DEMO, images=4, picture=picture)
    works.append(Work("training, demo config", "training", demo, upstream=False))
    images = 4 if quick else 100
    loading = Case(R50, images=images)
    works.append(Work(f"data loading, {images} images", "loading", loading))
    return works + _evaluation_work(4 if quick else 1500) + _surface_work(photo)


def _evaluation_work(images: int) -> list[Work]:
    """About as many images as minival has; twice as many show what grows with their number."""
    name = f"evaluation, {images} images"
    return [
        # detectron2's class gets annotations and predictions that are in memory, in both cases.
        Work(f"{name}, from files", "evaluation", Case(R50, ("files",), images=images)),
        Work(f"{name}, from memory", "evaluation", Case(R50, ("memory",), images=images)),
        Work(
            f"evaluation, {2 * images} images, from files",
            "evaluation",
            Case(R50, ("files",), images=2 * images),
            upstream=False,
        ),
    ]


def _surface_work(size: tuple[int, int]) -> list[Work]:
    """IUV to the body and textures, on one image; detectron2 puts textures, nothing else."""
    titles = {
        "triangles": "IUV to triangles",
        "vertices": "IUV to vertices",
        "points": "IUV to 3-D points",
        "take": "texture taken",
        "put": "texture put",
        "put nearest": "texture put, nearest texel",
    }
    picture = {"size": size, "people": 3}
    return [
        Work(
            f"surface {size[0]}x{size[1]}, {title}",
            "surface",
            Case(R50, (work,), picture=picture),
            upstream=work == "put nearest",
        )
        for work, title in titles.items()
    ]


def select(works: Sequence[Work], words: Sequence[str], device: str = "cpu") -> list[Work]:
    """The rows whose name contains one of the words; all without words.

    On another device than the CPU only those that run a model.

    Raises:
        ValueError: a word is in no name.
    """
    works = [w for w in works if device == "cpu" or w.kind in ("inference", "training")]
    for word in words:
        if not any(word in work.name for work in works):
            names = "; ".join(work.name for work in works)
            raise InputError(f"--only {word}: nothing has this in its name; there are: {names}")
    return [work for work in works if not words or any(word in work.name for word in words)]


@dataclass(frozen=True)
class Measurement:
    """Seconds of one row: contestant -> stage (total and CPU time, too) -> one value a round."""

    name: str
    seconds: dict[str, dict[str, list[float]]]
    peak_mib: dict[str, float]  # contestant -> memory that a run added at its peak, the largest

    def median(self, contestant: str, stage: str = TOTAL) -> float:
        """Median seconds."""
        return median(self.seconds[contestant][stage])

    def ratio(self, slower: str, faster: str, stage: str = TOTAL) -> float:
        """How many times as long ``slower`` takes: median of the ratios round by round."""
        pairs = zip(self.seconds[slower][stage], self.seconds[faster][stage], strict=True)
        return median(a / b for a, b in pairs)


def run(
    *,
    detectron2: Path | None = None,
    before: Path | None = None,
    only: Sequence[str] = (),
    each_operator: bool = False,
    quick: bool = False,
    rounds: int = 5,
    warm_up: int = 1,
    device: str = "cpu",
    half: bool = False,
    output: Path | None = None,
    progress: Callable[[str], None] = print,
) -> list[Measurement]:
    """Measure all rows, one after another.

    Args:
        detectron2: checkout of detectron2 to measure as well.
        before: another checkout of this project to measure as well.
        only: words of which one has to be in the name of a row; all rows when empty.
        each_operator: measure the model without each of the CPU operators as well.
        quick: small models, images and data sets.
        rounds: runs that count.
        warm_up: runs before them.
        device: of models.
        half: train under autocast.
        output: JSON file of all single times; it is written after each row.
        progress: is given a line for each thing done.

    Raises:
        ValueError: there are no rounds, or a word is in no name.
    """
    if rounds < 1 or warm_up < 0:
        raise InputError(f"--rounds must be 1 or more, got {rounds}; --warm-up 0 or more")
    done = []
    settings = {"quick": quick, "rounds": rounds, "device": device, "half": half}
    with ExitStack() as all_rows:
        shared = all_rows.enter_context(tempfile.TemporaryDirectory(prefix="densepose_upstream_"))
        maker = all_rows.enter_context(process.ours(module="our_speed"))
        started = _Sides(detectron2, before, all_rows)
        for number, work in enumerate(select(all_work(quick=quick), only, device)):
            folder = f"{shared}/{number}"
            case = replace(work.case, device=device, half=half, folder=folder)
            work = replace(work, case=case)
            if work.kind in ("loading", "evaluation", "surface"):
                vertices = QUICK_VERTICES if quick else VERTICES_PER_PART
                maker.call("make_files", kind=work.kind, case=asdict(case), vertices=vertices)
            with ExitStack() as one_row:
                if not quick:
                    # Fresh processes: none inherits another row's fragmented heap.
                    started = _Sides(detectron2, before, one_row)
                contestants = _prepared(work, started, progress, each_operator)
                done.append(measure(work.name, contestants, warm_up, rounds, progress))
            if output is not None:
                write(output, done, settings)
    return done


class _Sides(dict[str, process.Side]):
    """Processes of the contestants, started when they are first asked for."""

    def __init__(self, detectron2: Path | None, before: Path | None, stack: ExitStack) -> None:
        super().__init__()
        self.detectron2, self.before, self._stack = detectron2, before, stack

    def __missing__(self, name: str) -> process.Side:
        if name == "detectron2":
            side = process.detectron2(self.detectron2, module="detectron2_speed")
        else:
            checkout = self.before if name == "before" else process.ROOT
            side = process.ours(name, checkout, module="our_speed")
        self[name] = self._stack.enter_context(side)
        return side


def _prepared(
    work: Work, sides: _Sides, progress: Callable[[str], None], each_operator: bool = False
) -> list[process.Side]:
    """Those that take part in a row; this package first."""
    on_cpu = work.case.device == "cpu"
    chosen: dict[str, dict[str, Any]] = {"accelerated": {"plain": False}} if on_cpu else {}
    # The CPU operators have no part in reading data.
    if not on_cpu or work.kind in ("inference", "training", "conversion"):
        chosen["plain torch"] = {"plain": True}
    if each_operator:
        chosen |= {f"without {name}": {"plain": False, "without": name} for name in OPERATORS}
    if sides.before is not None:
        chosen["before"] = {"plain": not on_cpu}
    if sides.detectron2 is not None and work.upstream:
        chosen["detectron2"] = {}
    ready = []
    for name, how in chosen.items():
        progress(f"{work.name}: prepare {name}")
        try:
            sides[name].call("prepare", kind=work.kind, case=asdict(work.case), **how)
            ready.append(sides[name])
        except RuntimeError as error:
            if name != "before":
                raise
            reason = str(error).strip().splitlines()[-1]
            progress(f"{work.name}: 'before' is skipped, it cannot do this: {reason}")
    return ready


def measure(
    name: str,
    contestants: Sequence[process.Side],
    warm_up: int,
    rounds: int,
    progress: Callable[[str], None] = lambda text: None,
) -> Measurement:
    """Let prepared contestants take turns; every second round goes in reverse order."""
    seconds: dict[str, dict[str, list[float]]] = {c.name: {} for c in contestants}
    peak_mib = {c.name: 0.0 for c in contestants}
    for number in range(warm_up + rounds):
        progress(f"{name}: round {number + 1} of {warm_up + rounds}")
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            answer = contestant.measure("run")
            # The largest of all rounds, warm-up too: later ones reuse what the first left over.
            peak_mib[contestant.name] = max(peak_mib[contestant.name], answer.peak_mib)
            if number >= warm_up:
                stages = {**answer.value, TOTAL: sum(answer.value.values())}
                stages[CPU_TIME] = answer.cpu_seconds
                for stage, value in stages.items():
                    seconds[contestant.name].setdefault(stage, []).append(value)
    return Measurement(name, seconds, peak_mib)


def table(measurements: Sequence[Measurement]) -> str:
    """Markdown: medians in ms, ratios against this package, memory at the peak."""
    names = list(dict.fromkeys(name for m in measurements for name in m.seconds))
    first, *others = names
    head = ["work", *(f"{name}, ms" for name in names), *(f"x over {name}" for name in others)]
    head += [f"peak {name}, MiB" for name in names]
    rows = []
    for measurement in measurements:
        stages = [s for s in measurement.seconds[first] if s not in (TOTAL, CPU_TIME)]
        rows.append(_row(measurement, TOTAL, f"**{measurement.name}**", names))
        if len(stages) > 1:
            rows += [_row(measurement, stage, f"- {stage}", names) for stage in stages]
        rows.append(_row(measurement, CPU_TIME, f"- {CPU_TIME}", names))
    return markdown_table(head, rows)


def _row(measurement: Measurement, stage: str, label: str, names: list[str]) -> list[str]:
    first, *others = names
    here = [name for name in names if stage in measurement.seconds.get(name, {})]
    row = [label]
    row += [f"{1e3 * measurement.median(n, stage):.4g}" if n in here else "" for n in names]
    row += [f"x{measurement.ratio(n, first, stage):.2f}" if n in here else "" for n in others]
    peaks = [measurement.peak_mib.get(n, math.nan) if stage == TOTAL else math.nan for n in names]
    return row + ["" if math.isnan(peak) else f"{peak:.0f}" for peak in peaks]


def write(path: Path, measurements: Sequence[Measurement], settings: dict[str, Any]) -> None:
    """All single times with the machine, versions, commit and command."""
    content = {**report.facts(), **settings, "measurements": [asdict(m) for m in measurements]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1) + "\n")
