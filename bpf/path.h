/* Paths and files as the kernel knows them: links followed, mounts crossed. */

#define DEPTH 48 /* components and mounts; deeper paths are cut and marked so */

/* Asks for the path of a struct path; finish() walks all of them with one copy of the code. */
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

/* Writes the path of (mount, dentry) below the given root as a section; number: 1 if it is cut. */
static __always_inline void section_path(struct record *record, u16 kind, const char *mount, const char *dentry,
					 const char *root_mount, const char *root_dentry)
{
	u32 cut = 1;

	/* The position lives in memory: the verifier then sees the same state in every round. */
	record->walk_at = PIECE;
#pragma clang loop unroll(disable)
	for (int i = 0; i < DEPTH; i++) {
		if (dentry == root_dentry && mount == root_mount) {
			cut = 0;
			break;
		}
		const char *parent = READ_POINTER(dentry, DENTRY_PARENT);
		const char *mount_root = READ_POINTER(mount, MOUNT_MNT + VFSMOUNT_ROOT);
		u32 detached = dentry == parent && dentry != mount_root;
		if (dentry == mount_root) {
			const char *parent_mount = READ_POINTER(mount, MOUNT_PARENT);
			if (parent_mount == mount) {
				cut = 0;
				break;
			}
			dentry = READ_POINTER(mount, MOUNT_MOUNTPOINT);
			mount = parent_mount;
			continue;
		}
		u32 length = READ(u32, dentry, DENTRY_NAME_LENGTH) & 255;
		const char *name = READ_POINTER(dentry, DENTRY_NAME);
		u32 at = record->walk_at;
		if (at < length + 1 || at > PIECE)
			break;
		at -= length;
		bpf_probe_read_kernel(record->walk + (at & (PIECE - 1)), length & 255, name);
		if (detached) {
			record->walk_at = at;
			cut = 0;
			break;
		}
		at -= 1;
		record->walk[at & (PIECE - 1)] = '/';
		record->walk_at = at;
		dentry = parent;
	}

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

/* Writes the paths that were asked for and the record's length; returns that. */
static __always_inline u32 finish(struct record *record)
{
	const char *fs = READ_POINTER((const char *)bpf_get_current_task(), TASK_FS);
	const char *root_mount = READ_POINTER(fs, FS_ROOT + PATH_MNT) - MOUNT_MNT;
	const char *root_dentry = READ_POINTER(fs, FS_ROOT + PATH_DENTRY);

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 4; i++) {
		if (i >= record->pending)
			break;
		section_path(record, record->path[i].kind, record->path[i].mount, record->path[i].dentry, root_mount,
			     root_dentry);
	}
	u32 length = sizeof(struct header) + record->length;
	length &= 2 * CAPACITY - 1;
	if (length > sizeof(struct header) + CAPACITY)
		length = sizeof(struct header) + CAPACITY;
	record->header.length = length;
	return length;
}

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
	/* A file of overlayfs: its inode is embedded in an ovl_inode, where the upper file's dentry follows it. */
	if (READ(u64, super, SUPER_MAGIC) == 0x794c7630)
		facts->traits |= READ(u64, inode, INODE_END) ? TRAIT_UPPER_LAYER : TRAIT_LOWER_LAYER;
	if (READ_POINTER(dentry, DENTRY_PARENT) == dentry &&
	    READ_POINTER(READ_POINTER(file, FILE_PATH + PATH_MNT), VFSMOUNT_ROOT) != dentry)
		facts->traits |= TRAIT_DETACHED;
	section_end(record, kind, sizeof(*facts), number);
}

/* The open file behind a descriptor of the calling process, or NULL. */
static __always_inline const char *file_of(s32 descriptor)
{
	const char *task = (const char *)bpf_get_current_task();
	const char *table = READ_POINTER(READ_POINTER(task, TASK_FILES), FILES_FDT);
	if (descriptor < 0 || (u32)descriptor >= READ(u32, table, FDTABLE_MAX))
		return NULL;
	return READ_POINTER(READ_POINTER(table, FDTABLE_FD), (u64)descriptor * 8);
}

/* The folder that a relative path starts from. */
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
