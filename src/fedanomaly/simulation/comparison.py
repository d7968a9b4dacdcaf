"""What `fa.compare` has found: figures, verdicts in words, a table, curves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from sklearn.metrics import precision_recall_curve, roc_curve

from fedanomaly.errors import ConfigError, DataError
from fedanomaly.types import Floats, Integers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORTH_IT = "joining is worth it"
NO_GAIN = "no gain"
NOTHING_WORKS = "no detector works here"
NO_LABELS = "quality cannot be judged without labels"
USEFUL = 0.6
"""An AUROC below this is no ranking that anybody can work with, even where it is more than chance."""
LEAST_GAIN = 0.005
"""AUROCs that differ by less are as good as each other, however many test rows prove the difference."""
WIDTH = 120


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How well one model ranks labelled rows; each figure is a share, 1 is best.

    Parameters
    ----------
    auroc, average_precision : float
        Of the ranking; chance gives .5 and the share of anomalies.
    precision, recall : float
        Among the highest rows that fit the alert budget.
    """

    auroc: float
    average_precision: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A bootstrap interval.

    Parameters
    ----------
    low, high : float
        Its ends.
    """

    low: float
    high: float

    def __format__(self, sign: str) -> str:
        return f"{self.low:{sign}.3f} to {self.high:{sign}.3f}"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike two models rank the same rows, labels unknown.

    Parameters
    ----------
    rank_correlation : float
        Spearman's; 1: the same order. NaN if one of them does not rank at all.
    alert_overlap : float
        Share of the alerts of one that the other raises too.
    """

    rank_correlation: float
    alert_overlap: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Figures of one detector on labelled rows, averaged over the organisations' test rows.

    Parameters
    ----------
    local, local_worst : Figures
        Every organisation's own model on its test rows: the mean, and of each
        figure the lowest.
    federated, pooled : Figures
        The federation's model, and the one fitted on all rows together, on the
        same rows.
    overall : Figures
        The federation's model on all test rows taken together.
    auroc_interval, average_precision_interval : Interval
        Of `federated`.
    local_interval : Interval
        Of the AUROC of `local`.
    gain, gain_interval : float, Interval
        By how much the AUROC of `federated` is above that of `local`; rows are
        resampled for both at once.
    """

    local: Figures
    local_worst: Figures
    federated: Figures
    pooled: Figures
    overall: Figures
    auroc_interval: Interval
    average_precision_interval: Interval
    local_interval: Interval
    gain: float
    gain_interval: Interval


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One detector: alone, together, pooled.

    Parameters
    ----------
    name : str
        Of the detector, with a number if it was given twice.
    verdict : str
        One of the four verdicts of this module.
    judged : Judged or None
        Figures; None without labels.
    agreement : Agreement
        Between the own model and the federation's, averaged over the organisations.
    own : tuple of (Figures or None, Figures or None)
        For every organisation the figures of its own model and of the
        federation's on its test rows; None where they hold one class only.
    cannot_alone : tuple of int
        Organisations that cannot train this detector alone, such as those whose
        labels are of one class; their own model ranks nothing.
    """

    name: str
    verdict: str
    judged: Judged | None
    agreement: Agreement
    own: tuple[tuple[Figures | None, Figures | None], ...]
    cannot_alone: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores to draw a curve from.

    Parameters
    ----------
    name : str
        Of the detector.
    federated : bool
        Whether it is the federation's model; else an organisation's own.
    scores, labels : arrays of shape (n_samples,)
        High is anomalous; 1 is an anomaly.
    """

    name: str
    federated: bool
    scores: Floats
    labels: Integers


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Whether a federation finds more than its organisations do alone.

    Parameters
    ----------
    verdict : str
        ``"joining is worth it"``, ``"no gain"``, ``"no detector works here"``, or
        that quality cannot be judged without labels.
    reason : str
        What the verdict rests on, in one sentence.
    detectors : tuple of Compared
        In the order in which they were given.
    organisations, rows, anomalies : int
        Organisations, test rows, anomalies among them; 0 without labels.
    budget : float
        Share of the rows that are alerts.
    encrypted : bool
        Whether the federated models were learnt under encryption.
    """

    verdict: str
    reason: str
    detectors: tuple[Compared, ...]
    organisations: int
    rows: int
    anomalies: int
    budget: float
    encrypted: bool
    curves: Sequence[Curve] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the curves."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "curves"}
        return _plain({**told, "detectors": [asdict(each) for each in self.detectors]})

    def plot(self) -> Figure:
        """Return ROC and precision-recall curves: the federation's in colour, the organisations' own in grey.

        Returns
        -------
        matplotlib Figure
            Save it with ``savefig``.

        Raises
        ------
        ConfigError
            If matplotlib is not installed.
        DataError
            If there were no labels.
        """
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError("drawing needs matplotlib", hint="run: pip install fedanomaly[plot]") from None
        if not self.curves:
            raise DataError("without labels there is no curve to draw", hint="give test_labels")
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for curve in self.curves:
            style: dict[str, Any] = {"label": curve.name} if curve.federated else {"color": "0.8", "linewidth": 0.8}
            style["zorder"] = 3 if curve.federated else 1
            false, true, _ = roc_curve(curve.labels, curve.scores)
            left.plot(false, true, **style)
            precision, recall, _ = precision_recall_curve(curve.labels, curve.scores)
            right.plot(recall, precision, drawstyle="steps-post", **style)
        left.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
        left.set(xlabel="share of normal rows above", ylabel="share of anomalies above", title="ROC")
        right.set(xlabel="recall", ylabel="precision", title="precision and recall", ylim=(0, 1.02))
        left.legend(loc="lower right", title="federated; grey: each alone")
        return figure

    def __rich__(self) -> Group:
        lines = [Text(f"{each.name}: {each.verdict}{_gain(each)}") for each in self.detectors]
        at = Text(f"alerts are {100 * self.budget:g} % of the rows")
        return Group(self._table(), at, Text(), *lines, Text(f"{self.verdict}: {self.reason}", style="bold"))

    def __repr__(self) -> str:
        out = io.StringIO()
        Console(file=out, width=WIDTH, highlight=False, emoji=False).print(self)
        return out.getvalue().rstrip("\n")

    def _table(self) -> Table:
        judged = any(each.judged for each in self.detectors)
        table = Table(box=None, pad_edge=False, header_style="bold")
        columns = ("detector", "", "AUROC", "", "average precision", "", "precision", "recall")
        for number, column in enumerate(columns if judged else ("detector", "rank correlation", "same alerts")):
            table.add_column(column, justify="right" if number in {2, 4, 6, 7} or (not judged and number) else "left")
        for each in self.detectors:
            if each.judged is None:
                told = (each.agreement.rank_correlation, each.agreement.alert_overlap)
                table.add_row(each.name, *(f"{value:.3f}" for value in told))
            else:
                _add_judged(table, each.name, each.judged)
        return table


def _add_judged(table: Table, name: str, judged: Judged) -> None:
    ways = (("alone", judged.local), ("alone, worst", judged.local_worst), ("federated", judged.federated))
    for way, found in (*ways, ("pooled", judged.pooled)):
        intervals = ("", "")
        if way == "federated":
            intervals = (f"({judged.auroc_interval})", f"({judged.average_precision_interval})")
        auroc, average_precision, precision, recall = (f"{value:.3f}" for value in asdict(found).values())
        first = name if way == "alone" else ""
        table.add_row(first, way, auroc, intervals[0], average_precision, intervals[1], precision, recall)


def _gain(compared: Compared) -> str:
    if compared.judged is None:
        return ""
    told = f", {compared.judged.gain:+.3f} of AUROC ({compared.judged.gain_interval:+})"
    alone = len(compared.cannot_alone)
    return f"{told}; {alone} of {len(compared.own)} cannot train it alone" if alone else told


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and np.isnan(value) else value
