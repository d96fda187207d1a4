"""``user.*`` and ``group.*``: the user and group that the process runs as.

For a process in a container, names come from the files in its own root file system.
"""

from __future__ import annotations

from tiercel_engine.fields.model import Field, FieldType

FIELDS: tuple[Field, ...] = (
    Field("user.uid", FieldType.INTEGER, "The effective user id, as the host counts."),
    Field("user.name", FieldType.STRING, "The name of the effective user."),
    Field("user.homedir", FieldType.STRING, "The home directory of the effective user."),
    Field("user.shell", FieldType.STRING, "The login shell of the effective user."),
    Field(
        "user.loginuid",
        FieldType.INTEGER,
        "The id of the user who logged in, kept through su and sudo, or -1 without a login.",
    ),
    Field("user.loginname", FieldType.STRING, "The name of the user who logged in."),
    Field("group.gid", FieldType.INTEGER, "The effective group id, as the host counts."),
    Field("group.name", FieldType.STRING, "The name of the effective group."),
)
