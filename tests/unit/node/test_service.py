import pytest

from fedanomaly.errors import ConfigError, DataError, FedAnomalyError, InUseError, NotFoundError, UnavailableError
from fedanomaly.node.home import Home
from fedanomaly.node.service import NodeService
from tests.unit.node.federation import PASSPHRASE, coordinator, founded, joined, until


def names(service):
    return [event.name for event in service.feed.after(0)]


def test_a_node_that_is_not_enrolled_does_not_start(home, keystore):
    with pytest.raises(ConfigError, match="not enrolled"):
        NodeService(home, keystore)


def test_every_member_keeps_the_same_model_of_a_job(trained):
    until(lambda: all(service.models.newest() for service in trained.services))

    states = {service.models.load("payments").state.to_bytes() for service in trained.services}
    with trained.client() as node:
        states.add(node.model("payments").state.to_bytes())
    assert len(states) == 1


def test_a_model_tells_where_it_came_from(trained):
    (service, _) = trained.services
    until(service.models.newest)
    lineage = service.models.load("payments", 1).lineage

    assert (lineage.name, lineage.version, lineage.detector, lineage.dataset) == (
        "payments",
        1,
        "mahalanobis",
        "payments",
    )
    assert lineage.requested_by == "north"
    assert [entry.step for entry in lineage.rounds] == list(range(len(lineage.rounds)))
    assert all(entry.members == ["north", "east", "south"] for entry in lineage.rounds)
    assert [entry.step_name for entry in lineage.rounds][:2] == ["rows/all", "scale/0"]
    assert all(entry.clipped == 0 and entry.seconds > 0 for entry in lineage.rounds)
    assert lineage.started_at < lineage.ended_at


def test_the_views_tell_the_rounds_of_a_job(trained):
    (service, _) = trained.services
    (job, *_) = service.jobs

    assert (job.state, job.requested_by, job.ready) == ("accepted", "north", ["north", "east", "south"])
    assert [entry.step_name for entry in job.rounds][:2] == ["rows/all", "scale/0"]
    assert all(entry.clipped == 0 and entry.seconds > 0 and entry.received_bytes > 0 for entry in job.rounds)
    assert all(entry.message_bytes <= entry.sent_bytes <= 2 * entry.message_bytes + 500 for entry in job.rounds)


def test_a_node_that_starts_again_finds_its_jobs_and_trains_on(trained):
    home, keystore = trained.homes[2], trained.keystores[2]
    trained.services[1].stop()
    service = trained.services[1] = NodeService(home, keystore)
    service.start()
    until(lambda: service.jobs and service.jobs[0].state == "accepted")

    with trained.client() as node:
        rounds = node.train("payments", "mahalanobis", model="again").wait(120).rounds

    assert rounds[-1]["contributed"] == ["north", "east", "south"]
    until(lambda: "again" in [entry.name for entry in service.models.newest()])
    service.stop()
    trained.services[1] = NodeService(home, keystore)
    trained.services[1].start()


def test_what_the_node_itself_cannot_do_is_not_asked_for(trained):
    (service, _) = trained.services

    with pytest.raises(NotFoundError, match="no data set"):
        service.train(model="m", dataset="unknown", detector="loda", params={})
    with pytest.raises(FedAnomalyError):
        service.train(model="m", dataset="payments", detector="unknown", params={})
    with pytest.raises(DataError):
        service.train(model="../m", dataset="payments", detector="loda", params={})


def test_no_event_holds_a_number_of_the_data(trained):
    (service, _) = trained.services

    known = {
        "seq", "by", "attachment_bytes", "kind", "job", "step", "seconds", "model", "model_version",
        "organisation", "coordinator", "url", "error", "problem",
    }  # fmt: skip
    assert {key for event in service.feed.after(0) for key in event.details} <= known


def test_a_node_waits_for_its_coordinator_and_goes_on_by_itself(tmp_path):
    founded(tmp_path)
    with coordinator(tmp_path):
        home, keystore = joined(tmp_path, "north", 0)
    service = NodeService(home, keystore)
    service.start()
    try:
        until(lambda: "coordinator-unreachable" in names(service))
        assert not service.status.connected
        with pytest.raises(UnavailableError):
            service.train(model="m", dataset="payments", detector="loda", params={})

        with coordinator(tmp_path):
            until(lambda: service.status.connected and service.status.members == ["north"])
    finally:
        service.stop()
    assert names(service)[-1] == "node-stopped"


def test_a_service_opens_with_a_passphrase(trained, tmp_path):
    (first, *_) = trained.homes

    with pytest.raises(InUseError), Home(first.root).locked():
        raise AssertionError
    assert NodeService.open(trained.homes[1], PASSPHRASE).status.organisation == "east"
