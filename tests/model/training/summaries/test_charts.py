"""Pictures: the colours of the cells, and the points of the calibration plot."""

import numpy as np

from model.training.summaries import charts


def test_a_later_picture_differs_in_its_colours_alone():
    picture = charts.AttentionPicture(2, ["first", "$econd"], "target")
    nothing = picture.pixels(np.zeros((2, 2)))
    one = picture.pixels(np.array([[1.0, 0.0], [1.0, 0.0]]))
    other = picture.pixels(np.array([[0.0, 1.0], [1.0, 0.0]]))
    # As after the first one: nothing of earlier pictures stays.
    np.testing.assert_array_equal(picture.pixels(np.zeros((2, 2))), nothing)
    changed = (one != nothing).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    middle = one.shape[1] * (0.1 + 0.95) / 2  # of the page, left of the middle of the axes
    assert columns.max() < middle
    red = one[changed].mean(axis=0)
    assert red[0] > 2 * red[2]  # a share of 1 is dark red
    # Below, pass 2 minus pass 1: the first event gained, the second lost and is blue.
    below = (other != one).any(axis=2)
    below[: rows.max() + 1] = False
    right = np.flatnonzero(below.any(0)).max()
    blue = other[np.flatnonzero(below[:, right])[0], right].astype(int)
    assert blue[2] > blue[0]


def test_calibration_points_are_means_of_tenths_of_the_rows():
    scores = np.linspace(0, 1, 101)[1:]  # 0.01 to 1
    labels = (np.arange(100) >= 45).astype(int)
    points = charts.calibration_points(labels[::-1], scores[::-1])
    np.testing.assert_allclose(points[:, 0], np.arange(10) / 10 + 0.055)
    np.testing.assert_allclose(points[:, 1], [0, 0, 0, 0, 0.5, 1, 1, 1, 1, 1])
    assert charts.calibration_points(np.array([1, 0]), np.array([0.3, 0.2])).shape == (2, 2)
