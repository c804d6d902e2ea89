"""Rough times in words."""

from __future__ import annotations


def duration_text(seconds: float) -> str:
    """Seconds up to two minutes, minutes up to two hours, then hours, then days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
