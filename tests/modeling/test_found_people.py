from __future__ import annotations

import torch

from densepose.modeling.found_people import connected_foreground


def test_two_people_by_hand():
    probability = torch.full((6, 8), 0.1)
    probability[0:2, 0:3] = 0.8
    probability[2, 3] = 0.8  # touches by a corner
    probability[4:6, 6:8] = 0.9
    boxes, scores = connected_foreground(probability, (2.0, 4.0), 16.0)
    assert boxes.tolist() == [[24.0, 8.0, 32.0, 12.0], [0.0, 0.0, 16.0, 6.0]]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.8]))


def test_specks_are_nobody():
    probability = torch.zeros(5, 5)
    probability[2, 2] = 1.0
    assert len(connected_foreground(probability, (1.0, 1.0), 2.0)[0]) == 0
    assert len(connected_foreground(probability, (2.0, 1.0), 2.0)[0]) == 1


def test_an_empty_image_shows_nobody():
    boxes, scores = connected_foreground(torch.zeros(3, 4), (1.0, 1.0), 0.0)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
