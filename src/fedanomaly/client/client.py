"""The client of one node."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fedanomaly.client.connection import Connection
from fedanomaly.client.jobs import Job, Told

if TYPE_CHECKING:
    from fedanomaly.client.models import Model


class Client:
    """A node's loopback API, from Python.

    Parameters
    ----------
    url : str
        Its address, such as ``http://127.0.0.1:7420``.
    token : str
        What lies in the file `token` of the node's home.

    Examples
    --------
    ::

        with fa.Client("http://127.0.0.1:7420", token=token) as node:
            node.train("payments", detector="loda").wait()
            model = node.model("payments")
            model.predict(frame)  # rows in their own columns: -1 is an outlier
            model.detector  # a fitted scikit-learn estimator; it takes model.encode(frame)
    """

    def __init__(self, url: str = "http://127.0.0.1:7420", *, token: str) -> None:
        self._connection = Connection(url, token=token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def status(self) -> Told:
        """Return the node and its federation at a glance."""
        return self._connection.get("/v1/status")

    def datasets(self) -> list[Told]:
        """Return the local data sets: names, columns, row counts."""
        return self._connection.get("/v1/datasets")

    def train(
        self,
        dataset: str,
        detector: str = "ensemble",
        *,
        params: Mapping[str, Any] | None = None,
        model: str | None = None,
        sample: int | None = None,
    ) -> Job:
        """Ask the federation to train a detector.

        Parameters
        ----------
        dataset : str
            Local data set; the other members use theirs of the same name.
        detector : str, default="ensemble"
            Registered name.
        params : mapping, optional
            Parameters of the detector; what is left out has its default.
        model : str, optional
            Name of the model; that of the data set if left out.
        sample : int, optional
            Rows to take of each member's, a power of two from 1024 on: faster,
            and every member that has twice as many counts the same. Members with
            fewer rows add all of theirs. All rows if left out.

        Raises
        ------
        FedAnomalyError
            If this node itself could not take part.
        """
        asked = {"dataset": dataset, "detector": detector, "model": model, "sample": sample}
        return Job(self._connection, self._connection.post("/v1/jobs", {**asked, "params": dict(params or {})})["id"])

    def refresh(self, model: str, *, half_life_days: float = 30.0) -> Job:
        """Ask the federation to teach a model the rows that came since it was trained.

        Every member sums its new rows only: those that its newest data of the
        model's data set hold beyond what the model knows. One without any sends
        nothing, and gets the new version all the same.

        Parameters
        ----------
        model : str
            Its name; the newest version is refreshed.
        half_life_days : float, default=30.0
            After so many days the rows that it knows count half.

        Raises
        ------
        FedAnomalyError
            If this node itself could not take part.
        """
        body = {"half_life_days": half_life_days}
        return Job(self._connection, self._connection.post(f"/v1/models/{model}/refreshes", body)["id"])

    def jobs(self) -> list[Told]:
        """Return all jobs of the federation's log, oldest first."""
        return self._connection.get("/v1/jobs")

    def job(self, job: str) -> Job:
        """Return a job by its id, to look at it or to wait for it."""
        return Job(self._connection, job)

    def models(self) -> list[Told]:
        """Return the newest version of every model, and where it came from."""
        return self._connection.get("/v1/models")

    def model(self, name: str, version: int | None = None) -> Model:
        """Return a trained model, the newest version unless another is asked for.

        Raises
        ------
        NotFoundError
            If the node has no such model.
        """
        from fedanomaly.client.models import Model  # noqa: PLC0415 - numpy only for who wants a model

        params = {} if version is None else {"version": version}
        lineage = self._connection.get(f"/v1/models/{name}", params)
        # The version that was just read, even if a newer one is being written.
        state = self._connection.bytes("GET", f"/v1/models/{name}/state", params={"version": lineage["version"]})
        return Model(lineage, state)

    def evaluate(self, model: str, version: int | None = None) -> Job:
        """Ask the federation to evaluate a model on the held-out rows of all members.

        Parameters
        ----------
        model : str
            Its name.
        version : int, optional
            Its version at this node; the newest if left out.

        Raises
        ------
        FedAnomalyError
            If this node itself could not take part.
        """
        query = "" if version is None else f"?version={version}"
        return Job(self._connection, self._connection.post(f"/v1/models/{model}/evaluations{query}", {})["id"])

    def evaluation(self, model: str, *, budget: float | None = None) -> Told:
        """Return the newest evaluation of a model: figures with their bounds, calibration, drift.

        Parameters
        ----------
        model : str
            Its name.
        budget : float, optional
            Share of the rows that somebody can look at; 0.005 if left out.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        params: dict[str, str | int] = {} if budget is None else {"budget": str(budget)}
        return self._connection.get(f"/v1/models/{model}/evaluations/newest", params)

    def events(self, after: int = 0) -> tuple[list[Told], int]:
        """Return what happened at the node after a cursor, and the cursor to go on from."""
        told = self._connection.get("/v1/events", {"after": after})
        return told["events"], told["cursor"]

    def __repr__(self) -> str:
        return f"<Client of {self._connection.url}>"
