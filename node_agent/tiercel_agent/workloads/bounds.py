"""Limits for texts that others write: labels and annotations have no limits of their own that are low enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_MOST_LABEL_CHARACTERS = 1 << 16
_LONGEST_ANNOTATION = 4096  # characters


def bounded(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels, without those from the one on that exceeds the limit for all together."""
    room, kept = _MOST_LABEL_CHARACTERS, {}
    for key, value in labels.items():
        room -= len(key) + len(value)
        if room < 0:
            break
        kept[key] = value
    return kept


def chosen(annotations: Mapping[str, str], names: Collection[str]) -> Mapping[str, str]:
    """The annotations of these names, each cut to the limit."""
    return {name: annotations[name][:_LONGEST_ANNOTATION] for name in sorted(names) if name in annotations}
