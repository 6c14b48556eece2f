"""Writing a surface in the form of the official evaluation files, for other evaluators to use."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from .geodesics import packed_size
from .official import CHARTS_FILE, DISTANCE_FILE, VERTEX_FILE


def write_official_files(
    folder: str | os.PathLike[str],
    *,
    uv: NDArray[np.floating],
    part: NDArray[np.integer],
    mesh_vertex: NDArray[np.integer],
    distances_m: NDArray[np.float32],
) -> None:
    """Write SMPL_subdiv.mat, SMPL_SUBDIV_TRANSFORM.mat and Pdist_matrix.pkl.

    Args:
        folder: made when missing.
        uv: (M, 2) chart vertices in [0, 1].
        part: (M,) 1 to 24.
        mesh_vertex: (M,) 0-based; files have them 1-based.
        distances_m: (V (V - 1) / 2,) packed strict lower triangle, V above every mesh vertex.

    Raises:
        ValueError: fewer distances than the vertices need.
    """
    needed = packed_size(int(mesh_vertex.max()) + 1)
    if len(distances_m) < needed:
        raise ValueError(f"vertices need {needed} distances, got {len(distances_m)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    charts = {
        "U_subdiv": uv[:, :1].astype(np.float64),
        "V_subdiv": uv[:, 1:].astype(np.float64),
        "Part_ID_subdiv": part[:, None].astype(np.int32),
    }
    savemat(folder / CHARTS_FILE, charts)
    savemat(folder / VERTEX_FILE, {"index": mesh_vertex[:, None].astype(np.int32) + 1})
    # A pickle because the form asks for one; this project itself reads it with numpy_pickle.
    with open(folder / DISTANCE_FILE, "wb") as file:
        pickle.dump({"Pdist_matrix": distances_m[:, None]}, file, protocol=4)
