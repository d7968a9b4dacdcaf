"""Every detector that the package has keeps the contract, and scikit-learn's."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", registry())
def test_detector_keeps_the_contract(name, check):
    check(from_params(name))


@parametrize_with_checks([from_params(name) for name in registry()])
def test_detector_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)
