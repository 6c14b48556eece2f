"""The annotation pipeline of the paper (section 2) in the browser: regions, then points.

Read in this order: ``events`` (what an annotator can do, and the log of it), ``project`` (the state
that the events add up to), ``regions`` and ``points`` (step 1 and step 2), ``views`` (the six
pictures of a region of the body), ``server`` (the pages), ``coco`` (the file), ``quality``.

Frames: image px are continuous, (0, 0) is the outer corner of the top-left pixel.
"""

from __future__ import annotations
