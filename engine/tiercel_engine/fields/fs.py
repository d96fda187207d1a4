"""``fs.path.*``: the paths that a system call acts on, whichever call it is."""

from __future__ import annotations

from tiercel_engine.fields.model import Field, FieldType

FIELDS: tuple[Field, ...] = (
    Field("fs.path.name", FieldType.STRING, "The path that the call acts on, absolute and cleaned.", names_file=True),
    Field("fs.path.nameraw", FieldType.STRING, "The path that the call acts on, as the caller gave it."),
    Field(
        "fs.path.realname",
        FieldType.STRING,
        "The path that the call acts on as the kernel resolved it, links followed, if it differs from fs.path.name.",
    ),
    Field(
        "fs.path.source",
        FieldType.STRING,
        "The path that a rename or link starts from, absolute and cleaned.",
        names_file=True,
    ),
    Field("fs.path.sourceraw", FieldType.STRING, "The path that a rename or link starts from, as the caller gave it."),
    Field(
        "fs.path.realsource",
        FieldType.STRING,
        "The starting path as the kernel resolved it, links followed, if it differs from fs.path.source.",
    ),
    Field(
        "fs.path.target",
        FieldType.STRING,
        "The path that a rename or link leads to, absolute and cleaned.",
        names_file=True,
    ),
    Field("fs.path.targetraw", FieldType.STRING, "The path that a rename or link leads to, as the caller gave it."),
    Field(
        "fs.path.realtarget",
        FieldType.STRING,
        "The path led to as the kernel resolved it, links followed, if it differs from fs.path.target.",
    ),
)
