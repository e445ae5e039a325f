import string

import numpy as np
import pytest

from fivefold.images.builtin import render_letters


@pytest.fixture(scope="module")
def rendered():
    return render_letters()


def test_shape_and_labels(rendered):
    images, labels = rendered
    assert images.shape == (2028, 28, 28, 1)
    assert images.dtype == np.uint8
    letters, counts = np.unique(labels, return_counts=True)
    assert set(letters) == set(string.ascii_letters)
    assert set(counts) == {39}


def test_white_on_black_within_a_box_of_20(rendered):
    images = rendered[0][..., 0]
    assert (images.max(axis=(1, 2)) > 128).all()
    sides = []
    for axis in (1, 2):
        touched = images.any(axis=axis)
        first, last = touched.argmax(axis=1), 27 - touched[:, ::-1].argmax(axis=1)
        sides.append(last - first + 1)
    longest = np.maximum(*sides)
    assert longest.max() == 20
    assert longest.min() >= 19


def test_centred_by_mass(rendered):
    images = rendered[0][..., 0].astype(float)
    total = images.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = images.sum(axis=3 - axis) @ np.arange(28) / total
        assert np.abs(centre - 13.5).max() <= 1


def test_all_images_differ_mostly(rendered):
    images = rendered[0].reshape(len(rendered[0]), -1)
    assert len(np.unique(images, axis=0)) > 0.99 * len(images)


def test_deterministic(rendered):
    images, labels = render_letters()
    np.testing.assert_array_equal(images, rendered[0])
    np.testing.assert_array_equal(labels, rendered[1])
