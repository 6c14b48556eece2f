"""Readers of the files that DensePose, SMPL and detectron2 have released."""
