"""What is written of each photo: the forms of ``densepose predict --save``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from densepose.errors import InputError
from densepose.files import atomic, did_you_mean
from densepose.vis.sheets import photo_panels
from densepose.vis.styles import PART_COLORS, find_style

from .people import People
from .results_folder import FOLDERS

DEFAULT = ("page", "iuv", "video")
_PANELS_PX = 800  # longest side of each of the four pictures of a photo on the page
_JPEG = {"format": "JPEG", "quality": 90, "subsampling": 0}  # 4:4:4: edges of colours bleed else


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is written of each photo."""

    save: tuple[str, ...] = DEFAULT  # names of FOLDERS
    style: str = "parts"  # of overlay and video, see densepose.vis.styles
    background: str | None = None  # of overlay and video; None: that of the style
    frame_step: int = 1  # every so many frames of a video

    def __post_init__(self) -> None:
        for kind in self.save:
            if kind not in FOLDERS:
                hint = did_you_mean(kind, FOLDERS)
                raise InputError(f"save: {kind!r} is none of {', '.join(FOLDERS)}{hint}")
        find_style(self.style)

    def picture(self, people: People) -> Image.Image:
        """The people in the style, over the background."""
        return people.draw(self.style, self.background)

    def write(self, folder: Path, name: str, people: People, *, page: bool = True) -> list[str]:
        """Write the files of a photo or frame; returns the pictures for the page.

        Args:
            folder: of the results.
            name: of the photo in it.
            people: of the photo.
            page: whether the page shows it.
        """
        pictures = []
        for kind in self.save:
            if kind in _FILES and (page or kind != "page"):
                suffix, write = _FILES[kind]
                place = f"{FOLDERS[kind]}/{name}{suffix}"
                with atomic(folder / place) as temporary:
                    write(people, temporary, self)
                pictures += [place] * (kind == "page")
        return pictures


def _panels(people: People) -> Image.Image:
    return Image.fromarray(photo_panels(people.photo, people, _PANELS_PX))


def _index_image(people: People) -> Image.Image:
    """Pixels are the numbers of the parts; programs that show it use the colours of the parts."""
    image = Image.fromarray(people.part_map())
    image.putpalette(PART_COLORS.tobytes())
    return image


# Ending of the file, and what writes it.
_FILES: dict[str, tuple[str, Callable[[People, Path, Wanted], None]]] = {
    "page": (".jpg", lambda people, path, _: _panels(people).save(path, **_JPEG)),
    "iuv": (".png", lambda people, path, _: people.save(path)),
    "parts": (".png", lambda people, path, _: _index_image(people).save(path)),
    "mask": (".png", lambda people, path, _: Image.fromarray(people.mask()).save(path)),
    "overlay": (".png", lambda people, path, wanted: wanted.picture(people).save(path)),
    "npz": (".npz", lambda people, path, _: people.save(path)),
    "json": (".json", lambda people, path, _: people.save(path)),
}
