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
        "The path that a rename starts from, the new name of a link, or the device of a mount, absolute and cleaned.",
        names_file=True,
    ),
    Field("fs.path.sourceraw", FieldType.STRING, "The same, as the caller gave it."),
    Field(
        "fs.path.realsource",
        FieldType.STRING,
        "The same as the kernel resolved it, links followed, if it differs from fs.path.source.",
    ),
    Field(
        "fs.path.target",
        FieldType.STRING,
        "The path that a rename or link leads to, or the folder of a mount, absolute and cleaned.",
        names_file=True,
    ),
    Field("fs.path.targetraw", FieldType.STRING, "The same, as the caller gave it."),
    Field(
        "fs.path.realtarget",
        FieldType.STRING,
        "The same as the kernel resolved it, links followed, if it differs from fs.path.target.",
    ),
)
