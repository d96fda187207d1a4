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

/* Asks for the path of a place. walk_paths() writes all that were asked for, so that its code is there once. */
static __always_inline void want_place(struct record *record, u16 kind, const char *mount, const char *dentry)
{
	u32 slot = record->pending & (MOST_PATHS - 1);

	record->path[slot].mount = mount;
	record->path[slot].dentry = dentry;
	record->path[slot].kind = kind;
	record->pending = slot + 1;
}

/* The same for a struct path. */
static __always_inline void want_path(struct record *record, u16 kind, const char *path)
{
	const char *mount = READ_POINTER(path, PATH_MNT);
	const char *dentry = READ_POINTER(path, PATH_DENTRY);
	if (mount && dentry)
		want_place(record, kind, mount - MOUNT_MNT, dentry);
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

#ifdef HOOKS
/* A path that a hook has captured is a folder and the name in it. */
static __always_inline void write_last_name(struct record *record, u64 kind)
{
	u32 which = kind - SECTION_REAL_0;
	if (which > 1)
		return;
	struct captured_name *name = &record->names_seen.name[which & 1];
	u32 length = name->length & 255;
	if (!length)
		return;
	u32 at = PIECE - length;
	bpf_probe_read_kernel(record->walk + (at & (PIECE - 1)), length, name->last);
	record->walk[(at - 1) & (PIECE - 1)] = '/';
	record->walk_at = at - 1;
}
#endif

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
	for (u32 i = 0; i < MOST_PATHS; i++) {
		u32 slot = record->walked & (MOST_PATHS - 1);
		if (record->walked >= record->pending)
			break;
#ifdef HOOKS
		if (record->walk_at == PIECE)
			write_last_name(record, record->path[slot].kind);
#endif
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

/* What is told of an open file; the same is known of one that was captured. */
struct open_file {
	const char *mount; /* struct mount */
	const char *dentry;
	const char *inode;
	u32 flags;
	u32 mode; /* FMODE_… */
};

static __always_inline struct open_file open_file(const char *pointer)
{
	const char *file = OBJECT(pointer);
	struct open_file open = {.mount = MEMBER_POINTER(file, FILE_PATH + PATH_MNT) - MOUNT_MNT,
				 .dentry = MEMBER_POINTER(file, FILE_PATH + PATH_DENTRY),
				 .inode = MEMBER_POINTER(file, FILE_INODE),
				 .flags = MEMBER(u32, file, FILE_FLAGS),
				 .mode = MEMBER(u32, file, FILE_MODE)};
	return open;
}

static __always_inline void section_file_facts(struct record *record, u16 kind, struct open_file *file, u32 number)
{
	struct file_facts *facts = (struct file_facts *)section_payload(record);
	const char *inode = file->inode, *dentry = file->dentry;
	const char *super = READ_POINTER(inode, INODE_SB);
	if (!facts)
		return;
	facts->inode = READ(u64, inode, INODE_INO);
	facts->ctime_s = READ(s64, inode, INODE_CTIME);
	facts->mtime_s = READ(s64, inode, INODE_MTIME);
	facts->ctime_ns = READ(u32, inode, INODE_CTIME_NS);
	facts->mtime_ns = READ(u32, inode, INODE_MTIME_NS);
	facts->device = READ(u32, super, SUPER_DEV);
	facts->mode = READ(u16, inode, INODE_MODE);
	facts->flags = file->flags;
	facts->links = READ(u32, inode, INODE_NLINK);
	facts->owner = READ(u32, inode, INODE_UID);
	facts->traits = 0;
	/* The inode of a file of overlayfs is part of an ovl_inode, where the dentry of the upper file follows it. */
	if (READ(u64, super, SUPER_MAGIC) == OVERLAYFS_SUPER_MAGIC)
		facts->traits |= READ(u64, inode, INODE_END) ? TRAIT_UPPER_LAYER : TRAIT_LOWER_LAYER;
	if (READ_POINTER(dentry, DENTRY_PARENT) == dentry &&
	    READ_POINTER(file->mount, MOUNT_MNT + VFSMOUNT_ROOT) != dentry)
		facts->traits |= TRAIT_DETACHED;
	facts->traits |= (file->mode & FMODE_CREATED) / (FMODE_CREATED / TRAIT_CREATED);
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

/* Whether another file is behind the descriptor than the one that the call has opened. */
static __always_inline u32 is_exchanged(struct record *record)
{
	return record->exchanged;
}

#ifdef HOOKS
/* Whether a dentry that was captured still stands for the same inode. */
static __always_inline u32 still_is(const char *dentry, u64 number, u32 device)
{
	const char *inode = READ_POINTER(dentry, DENTRY_INODE);
	return inode && READ(u64, inode, INODE_INO) == number &&
	       READ(u32, READ_POINTER(inode, INODE_SB), SUPER_DEV) == device;
}

/* The file that was opened, if it is still there; else there is no section, and user space knows that it knows nothing. */
static __always_inline void section_seen_file(struct record *record, u32 number)
{
	struct captured_file *seen = &record->seen;
	struct open_file open = {.mount = seen->mount, .dentry = seen->dentry, .inode = seen->inode,
				 .flags = seen->flags, .mode = seen->mode};
	if (!still_is(seen->dentry, seen->number, seen->device) || READ_POINTER(seen->dentry, DENTRY_INODE) != seen->inode)
		return;
	section_file_facts(record, SECTION_FILE, &open, number);
	want_place(record, SECTION_FILE_PATH, seen->mount, seen->dentry);
}

/* Asks for the path where the call's path `slot` led to. */
static __always_inline void want_captured(struct record *record, u32 slot)
{
	struct captured_name *name = &record->names_seen.name[slot];
	if ((record->captured & CAPTURES_NAMES) && name->mount && still_is(name->dentry, name->number, name->device))
		want_place(record, SECTION_REAL_0 + slot, name->mount, name->dentry);
}

/* The disk that was mounted. */
static __always_inline void section_device(struct record *record)
{
	struct captured_device *device = &record->names_seen.device;
	if ((record->captured & CAPTURES_NAMES) && device->device)
		section_kernel_string(record, SECTION_DEVICE, device->name, device->device);
}

/* What the hooks have captured of a file or socket of this call, which is over with it; NULL if there is nothing. */
static __always_inline struct captured_subject *take_subject(u32 number)
{
	struct captured_subject *captured = CAPTURED(SUBJECTS, 0);
	if (!captured || captured->call != number)
		return NULL;
	captured->call = NO_CALL;
	captured->ring = 0;
	return captured->count ? captured : NULL;
}

/* Finds out whether the file behind the descriptor that was returned is the one that was opened. */
static __always_inline void compare_opened(struct record *record, u32 number, s64 result)
{
	struct captured_subject *captured = take_subject(number);
	if (!captured || result < 0)
		return;
	const char *dentry = record->file ? READ_POINTER(record->file, FILE_PATH + PATH_DENTRY) : NULL;
#pragma clang loop unroll(full)
	for (u32 i = 0; i < MOST_FILES; i++) {
		struct captured_file *one = &captured->file[i];
		if (i < captured->count && one->file == record->file && one->dentry == dentry)
			return;
	}
	record->seen = captured->file[0];
	record->exchanged = 1;
}

/* Takes what was captured of the call out of the thread's storages. */
static __always_inline void take_captured(struct record *record, u32 hooks, u32 number)
{
	if (hooks & CAPTURES_SOCKET) {
		struct captured_subject *captured = take_subject(number);
		if (captured) {
			record->socket_seen = captured->socket;
			record->captured |= CAPTURES_SOCKET;
		}
	}
	if (hooks & CAPTURES_NAMES) {
		struct captured_names *captured = CAPTURED(NAMES, 0);
		if (!captured)
			return;
		if (captured->call == number) {
			bpf_probe_read_kernel(&record->names_seen, sizeof(record->names_seen), captured);
			record->captured |= CAPTURES_NAMES;
		}
		FORGET(NAMES);
	}
}
#endif

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
