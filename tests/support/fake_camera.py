"""A camera of five pictures in place of ``cv2.VideoCapture``."""

from __future__ import annotations

import numpy as np


class FakeCamera:
    """Five pictures that are blue for OpenCV, which orders channels B, G, R."""

    def __init__(self, address: int | str) -> None:
        self.left = 5 if address in (0, "rtsp://door") else 0

    def set(self, *_: int) -> None:
        pass

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (self.left >= 0, np.full((4, 6, 3), (255, 0, 0), np.uint8))

    def release(self) -> None:
        pass
