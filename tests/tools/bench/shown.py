"""How figures are shown."""

from __future__ import annotations

from statistics import median, quantiles


def rounded(value: float) -> str:
    """A number with three digits that count."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def quartiles(values: list[float]) -> tuple[float, float]:
    """Between these two are half of the values."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return low, high


def figure(values: list[float]) -> str:
    """The median and, if there is more than one value, the quartiles: "19.1 (18.7 to 20)"."""
    if len(values) == 1:
        return rounded(values[0])
    low, high = map(rounded, quartiles(values))
    return f"{rounded(median(values))} ({low} to {high})"
