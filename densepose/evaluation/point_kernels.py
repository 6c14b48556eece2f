"""Compiled loop that reads predictions at annotated points; see ``annotated_points``.

Shapes: P points, G people, D detections, N pairs, E points of all pairs: pair k asks for those of
its person, from ``first_entry[k]`` on.
"""

from __future__ import annotations

from numba import njit

_OPTIONS = {"nogil": True, "cache": True}


@njit(**_OPTIONS)
def read_codes(
    detection,
    person,
    first_entry,
    first_point,
    points_px,
    boxes_xywh_px,
    labels,
    uv,
    first_label,
    map_sizes,
    codes,
    inside,
):
    """Fill codes (E,) int32 and inside (E,) bool, both 0 at first.

    Args:
        detection: (N,).
        person: (N,).
        first_entry: (N + 1,).
        first_point: (G + 1,) points of each person.
        points_px: (P, 2).
        boxes_xywh_px: (D, 4) boxes of the detections.
        labels: maps of all detections, uint8.
        uv: of each detection all U, then all V, uint8.
        first_label: (D,) where each map of labels starts; that of U starts at twice that.
        map_sizes: (D, 2) rows and columns.
        codes: see above.
        inside: see above.
    """
    for k in range(len(detection)):
        d = detection[k]
        x, y = boxes_xywh_px[d, 0], boxes_xywh_px[d, 1]
        width, height = int(boxes_xywh_px[d, 2]), int(boxes_xywh_px[d, 3])
        row_length = map_sizes[d, 1]
        start, area = first_label[d], map_sizes[d, 0] * row_length
        entry = first_entry[k]
        for p in range(first_point[person[k]], first_point[person[k] + 1]):
            # Conversion to a whole number truncates towards zero.
            column, row = int(points_px[p, 0] - x), int(points_px[p, 1] - y)
            if 0 <= column < width and 0 <= row < height:
                pixel = row * row_length + column
                u = uv[2 * start + pixel]
                v = uv[2 * start + area + pixel]
                codes[entry] = (int(labels[start + pixel]) << 16) | (int(u) << 8) | int(v)
                inside[entry] = True
            entry += 1
