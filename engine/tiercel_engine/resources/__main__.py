"""Writes the CustomResourceDefinitions into a folder: python -m tiercel_engine.resources FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

from tiercel_engine.resources.crd import write_crds


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    write_crds(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
