"""What is understood of data before a fit."""

import numpy as np
import pytest

from fivefold import check
from fivefold.errors import UsageError


def test_columns_are_named_and_what_is_not_modelled_is_doubted():
    found = check({"id": [f"k{n}" for n in range(40)], "size": list(range(40))})
    assert set(found.findings) == {"id", "size"}
    assert [doubt.place for doubt in found.doubts] == ["column 'id'"]


def test_reading_options_of_another_modality_are_refused():
    with pytest.raises(UsageError, match="`time` goes with series"):
        check(np.zeros((3, 8, 8), np.uint8), kind="images", time="when")


def test_what_is_no_reading_option_is_refused():
    with pytest.raises(UsageError, match="`epochs` is no option of check"):
        check({"size": [1, 2, 3]}, epochs=3)
