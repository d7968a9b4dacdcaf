"""Every detector that the package has keeps the contract, and scikit-learn's."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import CHECKS, NOT_WITHOUT_LABELS


def checks_of_scikit_learn():
    for name in registry():
        detector = from_params(name)
        expected = NOT_WITHOUT_LABELS if detector.learns_from_labels else {}
        for found in estimator_checks_generator(detector, expected_failed_checks=expected, mark="xfail"):
            estimator, check = getattr(found, "values", found)
            # One runs only where an environment variable has switched SciPy to array API mode.
            if check.func.__name__ != "check_array_api_input":
                marks = getattr(found, "marks", ())
                yield pytest.param(estimator, check, id=f"{name}-{check.func.__name__}", marks=marks)


SCIKIT_LEARN = list(checks_of_scikit_learn())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", registry())
def test_detector_keeps_the_contract(name, check):
    check(from_params(name))


@pytest.mark.parametrize(("estimator", "check"), SCIKIT_LEARN)
def test_detector_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_scikit_learn_has_checks_to_run():
    assert len(SCIKIT_LEARN) > 40 * len(registry())
