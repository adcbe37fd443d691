"""The figures as a picture, for light and for dark pages."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.tools.bench.field import WAYS
from tests.tools.bench.many import COUNTS, Grown
from tests.tools.bench.peers import FIRST, FORWARD, RESIDENT, STOP, Measure, Samples
from tests.tools.bench.shown import quartiles, rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = [FIRST, STOP, FORWARD, RESIDENT]
INK = {"light": "#1f2328", "dark": "#e6edf3"}
OURS, OTHERS = "#2da44e", "#8b949e"
HUES = ["#0969da", "#bf3989", "#8250df", "#bc4c00", "#9a6700", "#1b7c83", "#cf222e", "#57606a"]


def draw(folder: Path, samples: Samples, starts: Grown, stops: Grown) -> None:
    """Write bench-light.svg and bench-dark.svg."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    for scheme, ink in INK.items():
        colours = dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], ink)
        style = {"svg.fonttype": "none", "svg.hashsalt": "muinit", "font.family": "sans-serif", "font.size": 9}
        with rc_context({**style, **colours}):
            page = Figure(figsize=(11, 9), layout="constrained")
            axes = page.subplots(3, 2, gridspec_kw={"height_ratios": [1, 1, 1.2]})
            for on, measure in zip(axes.flat, BARS, strict=False):
                bars(on, measure, samples, ink)
            lines(axes[2][0], starts, "until all commands have started")
            lines(axes[2][1], stops, "until all commands are stopped")
            axes[2][1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
            metadata = {"Date": None, "Title": "What muinit and other inits cost"}
            page.savefig(folder / f"bench-{scheme}.svg", transparent=True, metadata=metadata)


def bars(on: Axes, measure: Measure, samples: Samples, ink: str) -> None:
    """A bar for each program, with a whisker from quartile to quartile."""
    found = {name: taken[measure] for name, taken in samples.items() if measure in taken}
    middles = [median(values) for values in found.values()]
    ends = [quartiles(values) for values in found.values()]
    spread = [(middle - low, high - middle) for middle, (low, high) in zip(middles, ends, strict=True)]
    on.barh(
        [*found],
        middles,
        color=[OURS if name in WAYS else OTHERS for name in found],
        xerr=[*zip(*spread, strict=True)],
        error_kw={"ecolor": ink, "elinewidth": 0.8},
    )
    for row, (middle, (_, high)) in enumerate(zip(middles, ends, strict=True)):
        on.annotate(rounded(middle), (high, row), (3, 0), textcoords="offset points", va="center", fontsize=8)
    on.set(title=f"{measure.short}, {measure.unit}", xscale="log", xlim=(min(middles) / 2, max(middles) * 3))
    on.xaxis.set_major_formatter("{x:,g}")
    on.invert_yaxis()
    plain(on)


def lines(on: Axes, grown: Grown, title: str) -> None:
    """A line for each program."""
    hues = iter(HUES)
    for name, times in grown.items():
        ours = name == "muinit"
        colour = OURS if ours else next(hues)
        on.plot(
            COUNTS,
            [median(times[count]) for count in COUNTS],
            marker="o",
            markersize=3,
            label=name,
            color=colour,
            linewidth=2.5 if ours else 1,
            zorder=3 if ours else 2,
        )
    on.set(title=f"{title}, ms", xlabel="commands", xscale="log", yscale="log", xticks=COUNTS)
    for axis in (on.xaxis, on.yaxis):
        axis.set_major_formatter("{x:,g}")
    plain(on)


def plain(on: Axes) -> None:
    on.set_facecolor("none")
    on.spines[["top", "right"]].set_visible(False)
    on.title.set_fontsize(10)
