"""Every colour of the data, in one place.

Colours are built in OKLCH (Ottosson 2020), where equal steps look equal, and then checked by
tests/charts/test_palette.py: text on them stays legible, and the scales stay ordered for the
three common kinds of colour blindness. Every picture also carries its numbers as text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

STEPS = 64
"""Colours in a continuous scale; more cannot be told apart."""

EXPERT_COLOURS = 16
"""Experts with a colour of their own; where a layer has more, the busiest get them."""


@dataclass(frozen=True)
class Scale:
    """A run of colours for light and for dark screens, as #rrggbb, low end first."""

    light: tuple[str, ...]
    dark: tuple[str, ...]


_EXPERTS = (
    (1, 1, 270), (2, 2, 80), (0, 1, 110), (2, 0, 190), (2, 2, 290), (1, 2, 340), (2, 2, 20),
    (1, 2, 150), (0, 0, 260), (1, 2, 80), (2, 2, 330), (2, 0, 20), (2, 1, 250), (0, 1, 170),
    (1, 0, 150), (2, 2, 130),
)  # fmt: skip
"""Lightness step, chroma step and hue of each expert's colour.

Found by search: of 288 candidates, the sixteen whose closest pair is furthest apart in OKLab,
on light and dark grounds alike, for normal, protan, deutan and tritan sight (Machado 2009);
in an order that puts the most different ones first.
"""


@cache
def experts() -> Scale:
    """Sixteen colours for experts, pale enough on light screens and deep enough on dark ones for
    text to stand on them; told apart by lightness where a colour-blind reader confuses hues.
    """
    light = [
        _hex((0.93, 0.83, 0.73)[step], (0.05, 0.10, 0.15)[chroma], hue)
        for step, chroma, hue in _EXPERTS
    ]
    dark = [
        _hex((0.34, 0.455, 0.56)[step], (0.05, 0.09, 0.125)[chroma], hue)
        for step, chroma, hue in _EXPERTS
    ]
    return Scale(tuple(light), tuple(dark))


_CLASSES = (
    (0, 1, 255), (2, 1, 105), (1, 0, 45), (2, 1, 255), (0, 1, 345), (1, 1, 300), (0, 0, 105),
    (1, 0, 195),
)  # fmt: skip
"""Lightness step, chroma step and hue of each class of points, found like `_EXPERTS` among the
candidates with a contrast of at least 3 on cards, which small marks need (WCAG 2.2, 1.4.11).
"""


@cache
def classes() -> Scale:
    """Eight strong colours for small marks; more classes than colours need shapes besides."""
    light = [
        _hex((0.40, 0.53, 0.66)[step], (0.09, 0.16)[chroma], hue) for step, chroma, hue in _CLASSES
    ]
    dark = [
        _hex((0.60, 0.74, 0.88)[step], (0.09, 0.15)[chroma], hue) for step, chroma, hue in _CLASSES
    ]
    return Scale(tuple(light), tuple(dark))


@cache
def sequential() -> Scale:
    """From the page's own ground to a strong blue: more ink is more. For 0 to high."""
    light = [_mix(t, (0.975, 0.008, 240), (0.40, 0.145, 268)) for t in _ramp()]
    dark = [_mix(t, (0.25, 0.020, 262), (0.91, 0.110, 205)) for t in _ramp()]
    return Scale(tuple(light), tuple(dark))


@cache
def diverging() -> Scale:
    """Blue below the even share, neutral at it, orange above: safe for red-green blindness."""
    light = [_two_sided(t, 0.965, 0.74, 0.57) for t in _ramp()]
    dark = [_two_sided(t, 0.27, 0.45, 0.78) for t in _ramp()]
    return Scale(tuple(light), tuple(dark))


@cache
def loss() -> Scale:
    """From the page's own ground to a strong orange: the upper half of `diverging`, for what is
    lost, from nothing to all.
    """
    light = [_two_sided(0.5 + t / 2, 0.965, 0.74, 0.57) for t in _ramp()]
    dark = [_two_sided(0.5 + t / 2, 0.27, 0.45, 0.78) for t in _ramp()]
    return Scale(tuple(light), tuple(dark))


@cache
def inks() -> tuple[dict[str, str], dict[str, str]]:
    """Colours of bars and lines by what they stand for, for light and for dark screens.

    Blue is kept, orange is lost; a cooler green marks what merely changed.
    """
    light = {"kept": (0.56, 0.115, 262), "lost": (0.68, 0.15, 55), "changed": (0.60, 0.09, 195)}
    dark = {"kept": (0.68, 0.105, 250), "lost": (0.74, 0.14, 60), "changed": (0.74, 0.09, 190)}
    return (
        {name: _hex(*colour) for name, colour in light.items()},
        {name: _hex(*colour) for name, colour in dark.items()},
    )


def _ramp() -> list[float]:
    return [i / (STEPS - 1) for i in range(STEPS)]


def _two_sided(t: float, middle: float, low: float, high: float) -> str:
    """The upper side goes further: a busy expert should catch the eye before an idle one."""
    side, end = abs(t - 0.5) * 2, high if t > 0.5 else low
    chroma, hue = (0.15, 55) if t > 0.5 else (0.095, 250)
    return _hex(middle + (end - middle) * side, 0.004 + chroma * side, hue)


def _mix(t: float, low: tuple[float, float, float], high: tuple[float, float, float]) -> str:
    return _hex(*(a + (b - a) * t for a, b in zip(low, high, strict=True)))


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """OKLCH to #rrggbb; chroma is lowered until the colour fits the screen's gamut."""
    for _ in range(40):
        rgb = _linear(lightness, chroma, hue)
        if all(-1e-4 <= c <= 1 + 1e-4 for c in rgb):
            break
        chroma *= 0.95
    return "#" + "".join(f"{round(255 * _gamma(min(1, max(0, c)))):02x}" for c in rgb)


def _linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a = chroma * math.cos(math.radians(hue))
    b = chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    mid = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * mid + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * mid - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * mid + 1.7076147010 * short,
    )


def _gamma(c: float) -> float:
    return 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055
