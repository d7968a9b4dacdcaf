"""Metrics are declared once, say what they are, and take no label from outside."""

from __future__ import annotations

import re

import pytest

from fedanomaly.coordinator import metrics as of_coordinator
from fedanomaly.node import metrics as of_node
from fedanomaly.transport.metrics import Instruments

DECLARED = [*of_coordinator.DECLARED, *of_node.DECLARED]
LABELS = {"kind", "outcome", "method", "route", "status", "code", "state", "event"}


def test_no_name_is_declared_twice():
    names = [each.name for each in DECLARED]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("each", DECLARED, ids=lambda each: each.name)
def test_a_metric_is_named_after_what_it_counts(each):
    assert re.fullmatch(r"fedanomaly_[a-z_]+", each.name)
    assert each.name.endswith("_total") == (each.kind == "counter")
    assert each.name.endswith(("_seconds", "_ratio", "_bytes", "_bytes_total")) == (
        each.unit in {"seconds", "ratio", "bytes"}
    )
    assert each.meaning.endswith(".")
    assert bool(each.buckets) == (each.kind == "histogram")


@pytest.mark.parametrize("each", DECLARED, ids=lambda each: each.name)
def test_no_label_is_about_a_member(each):
    assert set(each.labels) <= LABELS


def test_a_metric_that_is_not_declared_cannot_be_counted():
    with pytest.raises(KeyError):
        Instruments(()).count("fedanomaly_new_total")


def test_a_method_of_the_callers_making_makes_no_series():
    metrics = of_coordinator.Metrics()
    for number in range(50):
        metrics.answered(f"METHOD{number}", "unknown", 404, seconds=0.1, received=1, sent=2)

    text = metrics.text().decode()
    assert 'fedanomaly_requests_total{method="other",route="unknown",status="404"} 50.0' in text
    assert "fedanomaly_received_bytes_total 50.0" in text
    assert "METHOD" not in text


def test_two_services_in_one_process_count_apart():
    first, second = of_node.Metrics(), of_node.Metrics()
    first.happened("sent", {"kind": "contribution", "attachment_bytes": 100})
    first.happened("post-refused", {"problem": True, "error": "FA402: refused", "kind": "join"})

    assert 'fedanomaly_node_sent_total{kind="contribution"} 1.0' in first.text().decode()
    assert "fedanomaly_node_sent_bytes_total 100.0" in first.text().decode()
    assert 'fedanomaly_node_refusals_total{code="FA402"} 1.0' in first.text().decode()
    assert 'kind="contribution"' not in second.text().decode()
