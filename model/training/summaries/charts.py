"""Pictures for TensorBoard by Matplotlib: attention by pass and event, and calibration.

A picture of attention is laid out once. Later pictures of the same user change the colours alone
(Matplotlib's blitting), which takes a tenth of the time.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# In units of a share of 1. The colours show the root of a share, so that 1 % can be seen.
_TICKS = (-0.5, -0.1, 0.0, 0.1, 0.5)
_LETTERS = 28  # of an item's name on the axis
_BINS = 10


class AttentionPicture:
    """The attention of one user: passes as rows, events as columns, oldest first.

    Above are the shares of the events in each pass; below, how the shares of a pass differ from
    those of the pass before. Red is more, blue is less than nothing.

    Args:
      passes: N.
      events: names of the E events.
      target: name of the candidate.
    """

    def __init__(self, passes: int, events: Sequence[str], target: str):
        shown = [_short(name) for name in events]
        below = 0.3 + 0.055 * max(map(len, shown), default=0)  # inches for the names
        height = 0.8 + below + 0.42 * max(2 * passes - 1, 3)
        figure = Figure(figsize=(9, height), dpi=100)
        self._canvas = FigureCanvasAgg(figure)
        ratios = [passes, passes - 1] if passes > 1 else [1]
        axes = np.atleast_1d(
            figure.subplots(len(ratios), 1, sharex=True, gridspec_kw={"height_ratios": ratios})
        )
        figure.subplots_adjust(
            left=0.1, right=0.95, top=1 - 0.4 / height, bottom=below / height, hspace=0.25
        )
        labels = [
            [f"pass {number}" for number in range(1, passes + 1)],
            [f"{number} − {number - 1}" for number in range(2, passes + 1)],
        ]
        self._images = []
        for axis, names in zip(axes, labels, strict=False):
            zeros = np.zeros((len(names), len(events)))
            image = axis.imshow(zeros, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, animated=True)
            axis.set_yticks(range(len(names)), names, fontsize=10)
            axis.tick_params(axis="x", length=0)
            self._images.append(image)
        axes[-1].set_xticks(
            range(len(events)), shown, rotation=60, ha="right", rotation_mode="anchor", fontsize=8
        )
        axes[0].set_title(f"candidate: {_short(target, 60)}", fontsize=10, loc="left")
        axes[0].set_title("oldest event → newest", fontsize=9, loc="right")
        bar = figure.colorbar(self._images[0], ax=list(axes), fraction=0.03, pad=0.02)
        bar.set_ticks(
            [float(_root(tick)) for tick in _TICKS], labels=[f"{tick:.0%}" for tick in _TICKS]
        )
        bar.ax.tick_params(labelsize=8)
        self._canvas.draw()
        self._empty = self._canvas.copy_from_bbox(figure.bbox)

    def pixels(self, shares: np.ndarray) -> np.ndarray:
        """The picture `(H, W, 4)` of shares `(N, E)`."""
        self._canvas.restore_region(self._empty)
        for image, values in zip(self._images, (shares, np.diff(shares, axis=0)), strict=False):
            image.set_data(_root(values))
            image.axes.draw_artist(image)
        return np.array(self._canvas.buffer_rgba())


def calibration(labels: np.ndarray, curves: dict[str, np.ndarray]) -> np.ndarray:
    """A calibration plot `(H, W, 4)`: the share of positives by predicted probability.

    Each point is a tenth of the rows, by probability. A calibrated model lies on the diagonal.

    Args:
      labels: `(N,)`, 1 or 0.
      curves: probabilities `(N,)` by name.
    """
    figure = Figure(figsize=(5.2, 4.6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="calibrated")
    for (name, scores), marker in zip(curves.items(), "os^", strict=False):
        points = calibration_points(labels, scores)
        axis.plot(*points.T, marker=marker, markersize=5, linewidth=1, label=name)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="share of positives")
    axis.legend(loc="upper left", frameon=False)
    axis.grid(alpha=0.3)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def calibration_points(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean probability and share of positives `(P, 2)` of ten groups of rows, by probability."""
    groups = np.array_split(np.argsort(scores, kind="stable"), min(_BINS, len(scores)))
    return np.array([(scores[group].mean(), labels[group].mean()) for group in groups])


def _root(share: np.ndarray | float) -> np.ndarray:
    return np.sign(share) * np.sqrt(np.abs(share))


def _short(name: str, letters: int = _LETTERS) -> str:
    # A $ would start a formula.
    name = name.replace("$", r"\$")
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
