"""A small neural network that learns to reproduce normal rows from squares of a few projections."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.mahalanobis import Moments
from fedanomaly.detectors.network import (
    LOSS_REACH,
    WEIGHT_BITS,
    Network,
    first_weights,
    gradient_limits,
    gradient_sums,
    hidden_of,
    hidden_sums,
)
from fedanomaly.detectors.polynomial_network import PolynomialNetwork
from fedanomaly.detectors.progress import Progress, Progressing
from fedanomaly.detectors.scaling import most_rows, rows_of
from fedanomaly.detectors.stages import Stage
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

FASTER, SLOWER = (3, 2), (1, 2)
"""What a weight's step is multiplied by while the gradient keeps its sign, and when it turns."""
SHORTER = 4
"""What all steps are divided by after one that made it worse."""
FIRST = 20
"""The first step is that part of a unit's mean weight."""
MOST_WEIGHT = 1 << (WEIGHT_BITS + 6)


class Autoencoder(Detector):
    """Reconstruction error of a network with one hidden layer and square activation.

    The idea: what normal rows have in common is learnt by squeezing them through
    a few hidden units and rebuilding them; what is rebuilt badly is anomalous.
    Members average their gradients in every round (federated averaging with one
    full local step, so the result is that of training on all rows), while the
    output layer is solved exactly from sums. The activation is a square, so that
    the score is a polynomial and can be computed on ciphertexts.

    It fails where anomalies follow the same few directions as normal rows, and
    where there are so few columns that everything can be rebuilt.

    Cost: one job of at most 20 rounds, h (h + d) numbers or d (d + 3) / 2 in the
    widest for h hidden units; scoring takes 2 d h multiplications an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_hidden : int in [1, 256], optional
        Hidden units; no more than columns are used. Default: a third of the
        columns that vary, at most 32.
    n_epochs : int in [0, 50], default=3
        Improvements of the hidden layer, of two rounds each; one that makes it
        worse is taken back, and a smaller one tried.
    polynomial : bool, default=False
        Score by the polynomial that the network is, of rows cut at 8 deviations,
        which a service can compute on ciphertexts.

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.

    Notes
    -----
    Rows are cut at 8 robust deviations where the network reads them, and by default
    not where they are compared with what it rebuilds; projections are cut at 16 and
    their squares kept in steps of 2^-10. A polynomial can do none of that: with
    `polynomial`, the score is that of the row as it was cut, and nothing else is
    cut or rounded. The hidden layer starts at the leading
    principal directions, found by subspace iteration in whole numbers, so that
    all members start from the same bits, and is improved by resilient
    propagation, which needs only the signs of the opened gradient. The score is
    the sum over features of the squared error by its variance over all members'
    rows, of which every feature has its own term.

    References
    ----------
    B. McMahan et al., "Communication-efficient learning of deep networks from
    decentralized data", AISTATS 2017 (federated averaging). M. Riedmiller and H.
    Braun, "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm", ICNN 1993. R. Gilad-Bachrach et al., "CryptoNets", ICML 2016
    (square activation).

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import Autoencoder
    >>> t = np.random.default_rng(0).normal(size=2000)
    >>> X = np.stack([t, t**2, -t], axis=1) + np.random.default_rng(1).normal(size=(2000, 3)) * 0.1
    >>> detector = Autoencoder(n_hidden=2, contamination=0.02).fit(X)
    >>> detector.predict([[1.0, 1.0, -1.0], [1.0, -4.0, -1.0]])
    array([ 1, -1])
    """

    name = "autoencoder"
    version = 1
    why_no_circuit = "its score cuts projections and rounds their squares"
    circuit_with = "polynomial=true"
    free = Detector.free | {"polynomial"}
    most_features = 2_000
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_hidden": [None, Interval(Integral, 1, 256, closed="both")],
        "n_epochs": [Interval(Integral, 0, 50, closed="both")],
        "polynomial": ["boolean"],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.01,
        n_hidden: int | None = None,
        n_epochs: int = 3,
        polynomial: bool = False,
    ) -> None:
        super().__init__(contamination=contamination)
        self.n_hidden = n_hidden
        self.n_epochs = n_epochs
        self.polynomial = polynomial

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, moments, two for each epoch and the last, threshold."""
        return 13 + 2 * self.n_epochs

    def stages(self) -> tuple[Stage, ...]:
        """Return the moments, which the first weights come from, then the training of the network."""
        return (Moments(), Training())

    def derive(self, state: State) -> Network | PolynomialNetwork:
        """Return the trained network."""
        return PolynomialNetwork.of(state) if state.params.get("polynomial") else Network.of(state)


class Training(Progressing):
    """Steps ``network/decode-t`` (sums that the output layer is solved from) and ``network/encode-t`` (gradients)."""

    prefix = "network"

    def next_step(self, state: State) -> Step | None:
        """Return the sums of the next layer, or None once no improvement is left."""
        if "network/trained" in state:
            return None
        hidden, n, turn = hidden_of(state), most_rows(state), _turn(state)
        d, h = hidden.shape
        if turn % 2 == 0:
            unit, read = n << hidden.unit_bits, n << hidden.input_bits
            fields = (
                FieldSpec(name="units", shape=(h,), lower=0, upper=unit),
                FieldSpec(name="squares", shape=(h * (h + 1) // 2,), lower=0, upper=unit << hidden.unit_bits),
                FieldSpec(
                    name="products", shape=(h, d), lower=-(read << hidden.unit_bits), upper=read << hidden.unit_bits
                ),
            )
            return Step(name=f"network/decode-{turn // 2}", fields=fields)
        most, lost = gradient_limits(hidden)
        fields = (
            FieldSpec(name="gradient", shape=(h, d + 1), lower=-n * most, upper=n * most),
            FieldSpec(name="loss", shape=(1,), lower=0, upper=n * lost),
        )
        return Step(name=f"network/encode-{turn // 2}", fields=fields)

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return this member's sums for the layer that is due."""
        if step.name.startswith("network/decode-"):
            return hidden_sums(hidden_of(state), X)
        return gradient_sums(Network.of(state), X)

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the sums of the output layer, or take a step against the gradient, or end."""
        turn = _turn(state)
        if step.name.startswith("network/decode-"):
            layer = {f"network/{field.name}": total[field.name] for field in step.fields}
            if turn == 0:
                layer["network/weights"] = first_weights(state)
            return _with(state, {**layer, "network/turn": np.array([turn + 1])})
        lost, epoch = int(total["loss"][0]), turn // 2
        rose = "network/loss" in state and lost >= int(state["network/loss"][0])
        # Without a gradient the weights stay, and so would every later loss.
        settled = not rose and not total["gradient"].any()
        if settled or epoch >= int(state.params["n_epochs"]):
            return _ended(_with(state, {name: state[f"{name}-before"] for name in LAYERS} if rose else {}))
        if rose:
            moved = _retried(state)
        else:
            kept = {f"{name}-before": state[name] for name in LAYERS}
            moved = {**kept, **_moved(total["gradient"], state), "network/loss": total["loss"]}
        return _with(state, {**moved, "network/turn": np.array([turn + 1])})

    def progress(self, total: Total, state: State) -> Progress | None:
        """Return the mean of a row's squared errors, in units of the features' variance."""
        if "loss" not in total.integers:
            return None
        _, most = gradient_limits(hidden_of(state))
        return Progress("mean squared error", int(total["loss"][0]) / most * LOSS_REACH / rows_of(state))


LAYERS = ("network/weights", "network/units", "network/squares", "network/products")
"""What a trained network consists of."""


def _turn(state: State) -> int:
    return int(state["network/turn"][0]) if "network/turn" in state else 0


def _with(state: State, arrays: dict[str, Integers]) -> State:
    return State(state.detector, state.version, state.params, {**state.arrays, **arrays})


def _ended(state: State) -> State:
    own = {name: array for name, array in state.arrays.items() if not name.startswith("network/")}
    layers = {name: state[name] for name in LAYERS}
    return State(
        state.detector, state.version, state.params, {**own, **layers, "network/trained": np.array([_turn(state)])}
    )


def _moved(gradient: Integers, state: State) -> dict[str, Integers]:
    """Return the weights one step on: every weight has a step of its own, and only signs count."""
    weights, signs = state["network/weights"], np.sign(gradient)
    if "network/steps" in state:
        agreed = signs * state["network/signs"]
        steps = state["network/steps"]
        steps = np.where(agreed > 0, steps * FASTER[0] // FASTER[1], steps)
        steps = np.clip(np.where(agreed < 0, steps * SLOWER[0] // SLOWER[1], steps), 1, 1 << WEIGHT_BITS)
    else:
        mean = np.abs(weights).mean(axis=1, dtype=np.float64).astype(np.int64) // FIRST + 1
        steps = np.repeat(mean[:, None], weights.shape[1], axis=1)
    return {"network/weights": _stepped(weights, signs, steps), "network/steps": steps, "network/signs": signs}


def _retried(state: State) -> dict[str, Integers]:
    """Return the best weights yet, a smaller step on in the direction that went too far."""
    steps = np.maximum(state["network/steps"] // SHORTER, 1)
    weights = _stepped(state["network/weights-before"], state["network/signs"], steps)
    return {"network/weights": weights, "network/steps": steps}


def _stepped(weights: Integers, signs: Integers, steps: Integers) -> Integers:
    return np.clip(weights - signs * steps, -MOST_WEIGHT, MOST_WEIGHT)
