"""Large numbers as a person says them."""

from __future__ import annotations


def short_count(count: float) -> str:
    """A large number with three digits and its unit: "12.8 M", "46.7 B"."""
    return _scaled(count, (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3))) or f"{count:.0f}"


def short_bytes(count: float) -> str:
    """Bytes with three digits and their unit: "950 B", "1.5 MB"."""
    return _scaled(count, (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3))) or f"{count:.0f} B"


def _scaled(count: float, units: tuple[tuple[str, float], ...]) -> str:
    for unit, size in units:
        if count >= size:
            return f"{float(f'{count / size:.3g}'):g} {unit}"
    return ""
