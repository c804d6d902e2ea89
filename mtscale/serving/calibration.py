"""How far probabilities can be taken at their word: expected calibration error, and a temperature fitted on dev.

What is looked at is a prediction of a head: a class of an example, or a tag of a word. The expected calibration error
is that of Guo et al. 2017 (arXiv:1706.04599, equation 3): the mean distance of confidence and accuracy over 15 bins of
equal width, weighted by what is in them. The temperature divides the logits (their section 4.2) and is the one with the
least negative log-likelihood; it changes no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 15
# Logarithms of temperatures; beyond these all confidences are nearly equal, or all nearly 1.
_LOG_RANGE = (-4.0, 4.0)

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence: how many, their mean confidence, and the share that is right."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The calibration of one head on one split, as it is and with a temperature."""

    count: int
    temperature: float
    nll: float
    nll_scaled: float
    ece: float
    ece_scaled: float
    bins: tuple[Bin, ...]
    bins_scaled: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return asdict(self)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature of least negative log-likelihood, for (N, classes) logits and N classes."""
    found = minimize_scalar(
        lambda log: negative_log_likelihood(logits, labels, float(np.exp(log))), bounds=_LOG_RANGE, method="bounded"
    )
    return float(np.exp(found.x))


def calibrate(logits: Logits, labels: Labels, temperature: float) -> Calibration:
    """The calibration of logits, as they are and divided by a temperature."""
    plain, scaled = reliability(logits, labels, 1.0), reliability(logits, labels, temperature)
    return Calibration(
        count=len(labels),
        temperature=temperature,
        nll=negative_log_likelihood(logits, labels, 1.0),
        nll_scaled=negative_log_likelihood(logits, labels, temperature),
        ece=expected_error(plain),
        ece_scaled=expected_error(scaled),
        bins=plain,
        bins_scaled=scaled,
    )


def negative_log_likelihood(logits: Logits, labels: Labels, temperature: float) -> float:
    """The mean over the examples."""
    chosen = log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(labels)), labels]
    return float(-chosen.mean())


def reliability(logits: Logits, labels: Labels, temperature: float) -> tuple[Bin, ...]:
    """The 15 bins of confidence from 0 to 1; an empty one has accuracy and confidence 0."""
    probabilities = np.exp(log_softmax(logits.astype(np.float64) / temperature, axis=1))
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    # A bin holds its upper bound, as in the source.
    numbers = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = numbers == number
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if count else (0.0, 0.0)
        bins.append(Bin(count, *means))
    return tuple(bins)


def expected_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error of bins."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / total


def reliability_figure(found: Calibration, title: str, path: Path) -> None:
    """Draw accuracy over confidence, as it is and with the temperature, as a PNG.

    Raises:
        OSError: ``path`` cannot be written.
    """
    # The figure class draws with Agg, whatever display there is.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    series = {
        f"as it is, ECE {found.ece:.3f}": (found.bins, "o-"),
        f"temperature {found.temperature:.2f}, ECE {found.ece_scaled:.3f}": (found.bins_scaled, "s--"),
    }
    for label, (bins, style) in series.items():
        met = [one for one in bins if one.count]
        axes.plot([one.confidence for one in met], [one.accuracy for one in met], style, label=label)
    axes.set_xlabel("mean confidence")
    axes.set_ylabel("accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    # A title is data: without parse_math=False a "$" in it would be read as a formula.
    axes.set_title(title, parse_math=False)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=150, format="png")
