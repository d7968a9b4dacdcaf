import sys
from importlib.metadata import EntryPoint

import pytest

from fedanomaly.detectors import Loda, from_params, installed, registry
from fedanomaly.detectors.base import Detector
from fedanomaly.errors import ConfigError, NotFoundError


class Theirs(Loda):
    """Somebody else's detector."""

    name = "theirs"


class Impostor(Loda):
    """Has the name of one of ours."""


def declared(monkeypatch, *points):
    found = [EntryPoint(name, f"{__name__}:{kind}", "fedanomaly.detectors") for name, kind in points]
    # The package exports a function of the module's name.
    monkeypatch.setattr(sys.modules["fedanomaly.detectors.registry"], "entry_points", lambda group: found)


def test_a_detector_of_another_package_is_found_by_its_name(monkeypatch):
    declared(monkeypatch, ("theirs", "Theirs"))
    assert installed()["theirs"].__name__ == "Theirs"
    assert "theirs" not in registry()
    assert isinstance(from_params("theirs"), Detector)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([("loda", "Impostor")], "two detectors are called"),
        ([("theirs", "Theirs"), ("theirs", "Theirs")], "two detectors are called"),
        ([("other", "Theirs")], "declared as"),
        ([("theirs", "declared")], "no detector"),
        ([("theirs", "missing")], "cannot be loaded"),
    ],
)
def test_a_declaration_that_does_not_hold_is_an_error_with_a_reason(monkeypatch, points, says):
    declared(monkeypatch, *points)
    with pytest.raises(ConfigError, match=says):
        installed()


def test_an_unknown_name_is_answered_with_those_that_there_are(monkeypatch):
    declared(monkeypatch, ("theirs", "Theirs"))
    with pytest.raises(NotFoundError) as caught:
        from_params("nothing")
    assert "theirs" in caught.value.hint


def test_a_detector_is_made_without_running_what_others_declare(monkeypatch):
    declared(monkeypatch, ("theirs", "Theirs"), ("broken", "missing"))
    assert isinstance(from_params("theirs"), Theirs)
    assert isinstance(from_params("loda"), Loda)
    with pytest.raises(NotFoundError):
        from_params("nothing")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        from_params("broken")
