"""The files that an entry of BOOTSTRAP_DATASETS names, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from detectron2.config import CfgNode

from densepose.config import bootstrap_entries
from densepose.data.bootstrap.image_sources import (
    ImageSource,
    ReadImage,
    ReadKeyFrames,
    list_images,
)
from densepose.data.bootstrap.videos import (
    VIDEO_SETS,
    read_key_frame_table,
    read_path_list,
    require_video_reader,
)
from densepose.data.registration import datasets_root


def build_source(entry: CfgNode, image_format: str) -> ImageSource:
    """The files of one entry; "~" and environment variables in its paths are expanded.

    Raises:
        FileNotFoundError: a list or a folder is missing.
        ValueError: there are no files, PATH is missing, or PyAV is.
    """
    loader = entry.IMAGE_LOADER
    known_set = VIDEO_SETS.get(entry.DATASET) if loader.TYPE == "video_keyframe" else None
    if not loader.PATH and known_set is None:
        raise ValueError(
            f"BOOTSTRAP_DATASETS: {entry.DATASET!r} is no known set of videos"
            f" ({', '.join(VIDEO_SETS)}); give IMAGE_LOADER.PATH"
        )
    if loader.TYPE == "image_folder":
        paths = list_images(_expand(loader.PATH))
    elif loader.PATH:
        paths = read_path_list(_expand(loader.PATH))
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
            read_key_frame_table(_expand(helper)) if helper else None,
        )
    sizes = loader.TRANSFORM
    return ImageSource(paths, read, min_size=sizes.MIN_SIZE, max_size=sizes.MAX_SIZE)


def _expand(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))


def source_problems(cfg: CfgNode) -> Iterator[str]:
    """Why the files of an entry cannot be used, one sentence each; its first file is read."""
    for entry in bootstrap_entries(cfg):
        try:
            problem = build_source(entry, cfg.INPUT.FORMAT)[0].problem
        except (FileNotFoundError, ValueError) as error:
            problem = str(error)
        if problem:
            yield f"BOOTSTRAP_DATASETS {entry.DATASET}: {problem}"
