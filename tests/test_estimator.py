"""The estimators are as scikit-learn's own."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fivefold.estimator import VAE, VAEImputer, VAEOutlierDetector

_QUICK = {
    "accelerator": "cpu",
    "epochs": 2,
    "settings": {"shortest_epoch": 8, "hidden": 16, "context_width": 16, "members": 2},
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@parametrize_with_checks([VAE(**_QUICK), VAEImputer(**_QUICK), VAEOutlierDetector(**_QUICK)])
def test_scikit_learn(estimator, check):
    check(estimator)
