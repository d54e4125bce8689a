"""Colours hold their promises: legible, ordered, and apart for every kind of sight."""

import itertools

import numpy as np
import pytest

from moeviz.charts import palette

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
SCALES = {
    (kind, ground): getattr(getattr(palette, kind)(), ground)
    for kind in ("experts", "sequential", "diverging")
    for ground in ("light", "dark")
}


def linear(colours) -> np.ndarray:
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    cones = rgb @ np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                            [0.2119034982, 0.6806995451, 0.1073969566],
                            [0.0883024619, 0.2817188376, 0.6299787005]]).T  # fmt: skip
    return np.cbrt(cones) @ np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                                      [1.9779984951, -2.4285922050, 0.4505937099],
                                      [0.0259040371, 0.7827717662, -0.8086757660]]).T  # fmt: skip


def seen(colours, sight: str) -> np.ndarray:
    return oklab(np.clip(linear(colours) @ np.array(SIGHT[sight]).T, 0, 1))


def luminance(colours) -> np.ndarray:
    return linear(colours) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("scale", SCALES.values(), ids=map(str, SCALES))
def test_black_or_white_text_is_legible_on_every_colour(scale):
    light = luminance(scale)
    best = np.maximum(1.05 / (light + 0.05), (light + 0.05) / 0.0583)  # white, #14171a
    assert best.min() >= 4.2


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize(("sight", "apart"), [("normal", 0.07), ("protan", 0.03),
                                              ("deutan", 0.023), ("tritan", 0.025)])  # fmt: skip
def test_experts_are_told_apart(ground, sight, apart):
    points = seen(SCALES["experts", ground], sight)
    assert len(points) == palette.EXPERT_COLOURS
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2)]
    assert min(gaps) >= apart


@pytest.mark.parametrize(("ground", "card"), [("light", "#ffffff"), ("dark", "#181c22")])
def test_classes_are_told_apart_and_stand_out_from_the_card(ground, card):
    colours = getattr(palette.classes(), ground)
    light, behind = luminance(colours), luminance([card])[0]
    contrast = (np.maximum(light, behind) + 0.05) / (np.minimum(light, behind) + 0.05)
    assert contrast.min() >= 3
    for sight in SIGHT:
        pairs = itertools.combinations(seen(colours, sight), 2)
        assert min(np.linalg.norm(a - b) for a, b in pairs) >= 0.09


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_the_sequential_scale_is_ordered_by_lightness_alone(ground, sight):
    lightness = seen(SCALES["sequential", ground], sight)[:, 0]
    steps = np.diff(lightness) * (-1 if ground == "light" else 1)
    assert (steps > 0).all()
    assert abs(lightness[-1] - lightness[0]) > 0.45


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("sight", ["normal", "protan", "deutan"])
def test_the_two_sides_of_the_diverging_scale_differ(ground, sight):
    points = seen(SCALES["diverging", ground], sight)
    half = palette.STEPS // 2
    assert np.linalg.norm(points[half] - points[half - 1]) < 0.03
    assert np.linalg.norm(points[0] - points[-1]) > 0.15
    for side in (points[:half][::-1], points[half:]):
        assert (np.diff(np.linalg.norm(side - side[0], axis=1)) > 0).all()
