/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_PATH_H
#define TIERCEL_PATH_H

#include "read.h"
#include "sections.h"

/* Paths and files as the kernel knows them: links followed, mounts crossed. */

/* One run of the program takes STEPS components and mounts of a path; all paths of a record together take up to ROUNDS
 * runs. The verifier limits the length of a loop, the kernel that of a chain of tail calls (33). Deeper paths are cut, and
 * marked as cut. */
#define STEPS 64
#define ROUNDS 10

/* Asks for the path of a struct path. walk_paths() writes all that were asked for, so that its code is there once. */
static __always_inline void want_path(struct record *record, u16 kind, const char *path)
{
	u32 slot = record->pending & 3;
	const char *mount = READ_POINTER(path, PATH_MNT);
	const char *dentry = READ_POINTER(path, PATH_DENTRY);
	if (!mount || !dentry)
		return;
	record->path[slot].mount = mount - MOUNT_MNT;
	record->path[slot].dentry = dentry;
	record->path[slot].kind = kind;
	record->pending = slot + 1;
}

#define WALK_ENDED 0
#define WALK_GOES_ON 1
#define WALK_CUT 2 /* longer than PIECE */

/* Takes some steps from (mount, dentry) towards the root, and writes the path backwards into record->walk. Returns
 * WALK_…. */
static __always_inline u32 walk(struct record *record, u32 slot, const char *root_mount, const char *root_dentry)
{
	const char *mount = record->path[slot].mount;
	const char *dentry = record->path[slot].dentry;

	/* The position is kept in memory, so that the verifier sees the same state in every round. */
#pragma clang loop unroll(disable)
	for (int i = 0; i < STEPS; i++) {
		if (dentry == root_dentry && mount == root_mount)
			return WALK_ENDED;
		const char *parent = READ_POINTER(dentry, DENTRY_PARENT);
		const char *mount_root = READ_POINTER(mount, MOUNT_MNT + VFSMOUNT_ROOT);
		u32 detached = dentry == parent && dentry != mount_root;
		if (dentry == mount_root) {
			const char *parent_mount = READ_POINTER(mount, MOUNT_PARENT);
			if (parent_mount == mount)
				return WALK_ENDED;
			dentry = READ_POINTER(mount, MOUNT_MOUNTPOINT);
			mount = parent_mount;
			continue;
		}
		u32 length = READ(u32, dentry, DENTRY_NAME_LENGTH) & 255;
		const char *name = READ_POINTER(dentry, DENTRY_NAME);
		u32 at = record->walk_at;
		if (at < length + 1 || at > PIECE)
			return WALK_CUT;
		at -= length;
		bpf_probe_read_kernel(record->walk + (at & (PIECE - 1)), length & 255, name);
		if (detached) {
			record->walk_at = at;
			return WALK_ENDED;
		}
		at -= 1;
		record->walk[at & (PIECE - 1)] = '/';
		record->walk_at = at;
		dentry = parent;
	}
	record->path[slot].mount = mount;
	record->path[slot].dentry = dentry;
	return WALK_GOES_ON;
}

/* Makes a section of the path in record->walk. */
static __always_inline void section_path(struct record *record, u16 kind, u32 cut)
{
	u8 *payload = section_payload(record);
	u32 at = record->walk_at;
	if (!payload)
		return;
	if (at >= PIECE) {
		payload[0] = '/';
		section_end(record, kind, 1, cut);
		return;
	}
	u32 length = (PIECE - at) & (PIECE - 1);
	bpf_probe_read_kernel(payload, length, record->walk + (at & (PIECE - 1)));
	section_end(record, kind, length, cut);
}

/* One round of writing the paths that were asked for. Returns 0 if another round is needed. */
static __always_inline u32 walk_paths(struct record *record)
{
	const char *fs = READ_POINTER((const char *)bpf_get_current_task(), TASK_FS);
	const char *root_mount = READ_POINTER(fs, FS_ROOT + PATH_MNT) - MOUNT_MNT;
	const char *root_dentry = READ_POINTER(fs, FS_ROOT + PATH_DENTRY);

	if (record->rounds == 0)
		record->walk_at = PIECE;
	record->rounds++;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 4; i++) {
		u32 slot = record->walked & 3;
		if (record->walked >= record->pending)
			break;
		u32 end = walk(record, slot, root_mount, root_dentry);
		if (end == WALK_GOES_ON && record->rounds < ROUNDS)
			return 0;
		section_path(record, record->path[slot].kind, end != WALK_ENDED);
		record->walk_at = PIECE;
		record->walked++;
	}
	return 1;
}

#define OVERLAYFS_SUPER_MAGIC 0x794c7630

#define FMODE_CREATED 0x100000 /* include/linux/fs.h: this open has made the file */

static __always_inline void section_file_facts(struct record *record, u16 kind, const char *file, u32 number)
{
	struct file_facts *facts = (struct file_facts *)section_payload(record);
	const char *inode = READ_POINTER(file, FILE_INODE);
	const char *super = READ_POINTER(inode, INODE_SB);
	const char *dentry = READ_POINTER(file, FILE_PATH + PATH_DENTRY);
	if (!facts)
		return;
	facts->inode = READ(u64, inode, INODE_INO);
	facts->ctime_s = READ(s64, inode, INODE_CTIME);
	facts->mtime_s = READ(s64, inode, INODE_MTIME);
	facts->ctime_ns = READ(u32, inode, INODE_CTIME_NS);
	facts->mtime_ns = READ(u32, inode, INODE_MTIME_NS);
	facts->device = READ(u32, super, SUPER_DEV);
	facts->mode = READ(u16, inode, INODE_MODE);
	facts->flags = READ(u32, file, FILE_FLAGS);
	facts->links = READ(u32, inode, INODE_NLINK);
	facts->owner = READ(u32, inode, INODE_UID);
	facts->traits = 0;
	/* The inode of a file of overlayfs is part of an ovl_inode, where the dentry of the upper file follows it. */
	if (READ(u64, super, SUPER_MAGIC) == OVERLAYFS_SUPER_MAGIC)
		facts->traits |= READ(u64, inode, INODE_END) ? TRAIT_UPPER_LAYER : TRAIT_LOWER_LAYER;
	if (READ_POINTER(dentry, DENTRY_PARENT) == dentry &&
	    READ_POINTER(READ_POINTER(file, FILE_PATH + PATH_MNT), VFSMOUNT_ROOT) != dentry)
		facts->traits |= TRAIT_DETACHED;
	facts->traits |= (READ(u32, file, FILE_MODE) & FMODE_CREATED) / (FMODE_CREATED / TRAIT_CREATED);
	section_end(record, kind, sizeof(*facts), number);
}

/* The open file behind a descriptor of the calling process, or NULL. */
static __always_inline const char *file_of(s32 descriptor)
{
	const char *task = (const char *)bpf_get_current_task();
	const char *table = OBJECT(READ_POINTER(READ_POINTER(task, TASK_FILES), FILES_FDT));
	if (descriptor < 0 || (u32)descriptor >= MEMBER(u32, table, FDTABLE_MAX))
		return NULL;
	return (const char *)READ_AT(u64, MEMBER(u64, table, FDTABLE_FD) + (u64)descriptor * 8);
}

/* The file that a call has just opened, whose descriptor is therefore in the table. `task` comes from OBJECT(). */
static __always_inline const char *opened_file(const char *task, s32 descriptor)
{
	const char *table = READ_POINTER(MEMBER_POINTER(task, TASK_FILES), FILES_FDT);
	return (const char *)READ_AT(u64, READ_POINTER(table, FDTABLE_FD) + (u64)descriptor * 8);
}

/* Asks for the path of the folder that a relative path starts from. */
static __always_inline void want_base(struct record *record, u16 kind, s32 descriptor)
{
	if (descriptor == AT_FDCWD) {
		want_path(record, kind, READ_POINTER((const char *)bpf_get_current_task(), TASK_FS) + FS_PWD);
	} else {
		const char *file = file_of(descriptor);
		if (file)
			want_path(record, kind, file + FILE_PATH);
	}
}

#endif
