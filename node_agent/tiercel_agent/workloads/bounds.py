"""How much of what others write is kept: labels and annotations have no limit of their own that would do."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_MOST_LABEL_CHARACTERS = 1 << 16
_LONGEST_ANNOTATION = 4096  # characters


def bounded(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Labels as far as they are of a sane size altogether."""
    room, kept = _MOST_LABEL_CHARACTERS, {}
    for key, value in labels.items():
        room -= len(key) + len(value)
        if room < 0:
            break
        kept[key] = value
    return kept


def chosen(annotations: Mapping[str, str], names: Collection[str]) -> Mapping[str, str]:
    """The annotations of these names, cut where they are long."""
    return {name: annotations[name][:_LONGEST_ANNOTATION] for name in sorted(names) if name in annotations}
