"""References to images, such as ``docker.io/library/nginx:1.27@sha256:…``, taken apart.

The form is that of the OCI distribution: ``[registry[:port]/]repository[:tag][@digest]``.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiercel_agent.workloads.model import Image


def image_of(name: str, id_: str = "", tags: Iterable[str] = (), digests: Iterable[str] = ()) -> Image:
    """The image that a container was made from.

    ``name`` is the reference that was given for it; where that is only an id, the first of ``tags`` is used in its
    place. ``digests`` are references with a digest: the one of the same repository counts, or else the first.
    """
    if _is_id(name):
        id_ = id_ or name
        name = next(iter(tags), "")
    name, _, digest = name.partition("@")
    repository, tag = _split_tag(name)
    known = [reference.partition("@") for reference in digests if "@" in reference]
    if not digest:
        same = [known_digest for of, _, known_digest in known if _split_tag(of)[0] == repository]
        digest = next(iter(same or [known_digest for _, _, known_digest in known]), "")
    if not repository and known:
        name = repository = known[0][0]
    return Image(name, repository, tag, digest, id_)


def _split_tag(name: str) -> tuple[str, str]:
    """Name and tag. A colon before the last slash begins the registry's port, not a tag."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "")


def _is_id(name: str) -> bool:
    digits = name.removeprefix("sha256:")
    return len(digits) == 64 and all(character in "0123456789abcdef" for character in digits)
