"""Every detector that the package has keeps the contract, and scikit-learn's."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import CHECKS

SCIKIT_LEARN = [
    pytest.param(estimator, check, id=f"{name}-{check.func.__name__}")
    for name in registry()
    for estimator, check in estimator_checks_generator(from_params(name), mark=None)
    # Runs only where an environment variable has switched SciPy to array API mode.
    if check.func.__name__ != "check_array_api_input"
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", registry())
def test_detector_keeps_the_contract(name, check):
    check(from_params(name))


@pytest.mark.parametrize(("estimator", "check"), SCIKIT_LEARN)
def test_detector_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_scikit_learn_has_checks_to_run():
    assert len(SCIKIT_LEARN) > 40 * len(registry())
