"""Writes docs/reference: PYTHONPATH=scripts .venv/bin/python -m reference_pages"""

from __future__ import annotations

from reference_pages import write_pages

if __name__ == "__main__":
    write_pages()
