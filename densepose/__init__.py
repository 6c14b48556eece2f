"""DensePose: dense human pose estimation on top of detectron2.

Importing this package registers nothing, downloads nothing and does not need detectron2.
"""

__version__ = "0.1.0"
