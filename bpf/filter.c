/* The filter's look at a call, before anything is recorded. */

/* The class of what stands in record->subject. */
static __always_inline u32 class_of_subject(struct record *record, u32 now)
{
	struct subject_class *found = subjects.lookup(&record->subject);
	return found && found->generation == now ? found->class : CLASS_UNKNOWN;
}

static __always_inline void clear_subject(struct record *record)
{
	__builtin_memset(&record->subject, 0, sizeof(record->subject));
}

#define COMPONENTS 24

static __always_inline u64 word(const u8 *chunk, u32 offset)
{
	return *(const u64 *)(chunk + offset);
}

#define SUBJECT_REAL 2
#define SUBJECT_RELATIVE 3

/* Puts the components of a struct path into record->subject, from the last one to the first, each ended by a NUL, after a
 * byte that tells what it is. Where the next byte goes; 0 if the path is too long, or no path below the root. */
static __always_inline u32 subject_components(struct record *record, const char *path, u8 tag)
{
	const char *fs = READ_POINTER((const char *)bpf_get_current_task(), TASK_FS);
	u64 root[2], place[2];
	u32 at = 1;

	if (bpf_probe_read_kernel(root, sizeof(root), fs + FS_ROOT) || bpf_probe_read_kernel(place, sizeof(place), path))
		return 0;
	u64 mount = place[PATH_MNT / 8] - MOUNT_MNT;
	u64 dentry = place[PATH_DENTRY / 8];
	u64 root_mount = root[PATH_MNT / 8] - MOUNT_MNT;
	u64 root_dentry = root[PATH_DENTRY / 8];

	clear_subject(record);
	record->subject.bytes[0] = tag;
	record->subject_at = at;
	if (bpf_probe_read_kernel(record->chunk.mount, MOUNT_CHUNK, (const void *)mount))
		return 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < COMPONENTS; i++) {
		at = record->subject_at;
		if (dentry == root_dentry && mount == root_mount) {
			if (at >= SUBJECT_SIZE)
				return 0;
			__builtin_memset(record->subject.bytes + at, 0, INLINE_NAME_SIZE); /* what names were copied with */
			return at;
		}
		if (dentry == word(record->chunk.mount, MOUNT_MNT + VFSMOUNT_ROOT)) {
			u64 parent = word(record->chunk.mount, MOUNT_PARENT);
			if (parent == mount)
				return 0;
			dentry = word(record->chunk.mount, MOUNT_MOUNTPOINT);
			mount = parent;
			if (bpf_probe_read_kernel(record->chunk.mount, MOUNT_CHUNK, (const void *)mount))
				return 0;
			continue;
		}
		if (bpf_probe_read_kernel(record->chunk.dentry, DENTRY_CHUNK, (const void *)dentry))
			return 0;
		u64 parent = word(record->chunk.dentry, DENTRY_PARENT);
		u64 name = word(record->chunk.dentry, DENTRY_NAME);
		u32 length = *(u32 *)(record->chunk.dentry + DENTRY_NAME_LENGTH);
		if (parent == dentry || at + length + 2 >= SUBJECT_SIZE || length > 255)
			return 0;
		FORGET(at);
		at &= SUBJECT_SIZE - 1;
		u8 *target = record->subject.bytes + at;
		if (name == dentry + DENTRY_INLINE_NAME && length < INLINE_NAME_SIZE) {
			__builtin_memcpy(target, record->chunk.dentry + DENTRY_INLINE_NAME, INLINE_NAME_SIZE);
		} else {
			FORGET(length);
			bpf_probe_read_kernel(target, length & (SUBJECT_SIZE - 1), (const void *)name);
		}
		FORGET(length);
		target[length & (SUBJECT_SIZE - 1)] = 0;
		record->subject_at = at + length + 1;
		dentry = parent;
	}
	return 0;
}

/* The class of the path as passed: of the very text, after the folder that a relative one starts from and a NUL. */
static __always_inline u32 class_of_given(struct record *record, struct plan *plan, u32 now)
{
	u64 address = saved_argument(record, plan->path[0]);
	clear_subject(record);
	long length = bpf_probe_read_user_str(&record->subject, SUBJECT_SIZE, (const void *)address);
	if (length <= 1)
		return CLASS_UNKNOWN;
	if (record->subject.bytes[0] != '/') {
		u32 at;
		s32 base = plan->base[0] < 0 ? AT_FDCWD : (s32)saved_argument(record, plan->base[0]);
		const char *file = base == AT_FDCWD ? NULL : file_of(base);
		const char *fs = READ_POINTER((const char *)bpf_get_current_task(), TASK_FS);
		if (base != AT_FDCWD && !file)
			return CLASS_UNKNOWN;
		at = subject_components(record, file ? file + FILE_PATH : fs + FS_PWD, SUBJECT_RELATIVE);
		if (at == 0 || at >= SUBJECT_SIZE - 2)
			return CLASS_UNKNOWN;
		at++;
		FORGET(at);
		at &= SUBJECT_SIZE - 1;
		length = bpf_probe_read_user_str(record->subject.bytes + at, SUBJECT_SIZE, (const void *)address);
		if (length <= 1)
			return CLASS_UNKNOWN;
		length += at;
	}
	if (length >= SUBJECT_SIZE) /* a longer one was cut */
		return CLASS_UNKNOWN;
	return class_of_subject(record, now);
}

/* The class of the path of the file that was opened. */
static __always_inline u32 class_of_real(struct record *record, s64 result, u32 now)
{
	if (result == -13 || result == -1) /* EACCES, EPERM: user space looks up what was refused */
		return CLASS_UNKNOWN;
	if (result < 0)
		return CLASS_NONE;
	const char *file = file_of(result);
	if (!file || !subject_components(record, file + FILE_PATH, SUBJECT_REAL))
		return CLASS_UNKNOWN;
	record->filter.key.args[2] = (READ(u16, READ_POINTER(file, FILE_INODE), INODE_MODE) & S_IFMT) >> 12;
	return class_of_subject(record, now);
}

/* The ends of a connection, without the local port: as user space takes them from the record. */
static __always_inline u32 class_of_connection(struct record *record, struct plan *plan, u32 now)
{
	const char *file = file_of((s32)saved_argument(record, plan->descriptor));
	if (!file || (READ(u16, READ_POINTER(file, FILE_INODE), INODE_MODE) & S_IFMT) != S_IFSOCK)
		return CLASS_UNKNOWN;
	const char *sock = READ_POINTER(READ_POINTER(file, FILE_PRIVATE), SOCKET_SK);
	u16 family = READ(u16, sock, SOCK_FAMILY);
	u16 port = READ(u16, sock, SOCK_REMOTE_PORT);
	clear_subject(record);
	u8 *subject = record->subject.bytes;
	*(u16 *)(subject + 2) = family;
	*(u16 *)(subject + 4) = READ(u16, sock, SOCK_TYPE);
	*(u16 *)(subject + 6) = READ(u16, sock, SOCK_PROTOCOL);
	if (family == AF_INET) {
		bpf_probe_read_kernel(subject + 24, 4, sock + SOCK_LOCAL_V4);
		bpf_probe_read_kernel(subject + 40, 4, sock + SOCK_REMOTE_V4);
	} else if (family == AF_INET6) {
		bpf_probe_read_kernel(subject + 24, 16, sock + SOCK_LOCAL_V6);
		bpf_probe_read_kernel(subject + 40, 16, sock + SOCK_REMOTE_V6);
	} else {
		return CLASS_UNKNOWN;
	}
	*(u16 *)(subject + 8) = port;
	if (!port) { /* what was passed counts, up to the address */
		u64 passed = saved_argument(record, plan->address);
		u16 passed_family = READ_USER(u16, passed);
		if (passed_family == AF_INET)
			bpf_probe_read_user(subject + 64, 8, (const void *)passed);
		else if (passed_family == AF_INET6)
			bpf_probe_read_user(subject + 64, 24, (const void *)passed);
		else
			return CLASS_UNKNOWN;
	}
	return class_of_subject(record, now);
}

/* Whether the call can be left out; what else was found out stands in record->filter. */
static __always_inline u32 filtered(struct record *record, struct call *call, s64 result)
{
	u32 zero = 0;
	u32 *now = generation.lookup(&zero);
	u64 *last_change = lineage.lookup(&zero);
	if (!now || !last_change)
		return 0;
	struct filter_facts *facts = &record->filter;
	struct verdict_key *key = &facts->key;
	key->generation = call->compat ? 0 : *now; /* 0: nothing is to be learned from this call */
	if (!key->generation)
		return 0;

	const char *task = (const char *)bpf_get_current_task();
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct process_class *known = process_classes.lookup(&pid);
	facts->start = READ(u64, READ_POINTER(task, TASK_GROUP_LEADER), TASK_START_BOOTTIME);
	facts->cred = (u64)READ_POINTER(task, TASK_CRED);
	facts->as_of = 0;
	facts->verdict = 0;
	if (known && known->confirmed && known->generation == *now && known->start == facts->start &&
	    known->cred == facts->cred && known->cgroup == bpf_get_current_cgroup_id() && known->as_of > *last_change) {
		key->process = known->class;
	} else {
		key->process = CLASS_UNKNOWN;
		facts->as_of = bpf_ktime_get_boot_ns();
	}

	save_arguments(record, call);
	key->given = key->real = CLASS_ANY;
	key->call = call->number;
	key->result = result > 16 ? 16 : result;
	key->args[0] = call->plan->keyed[0] < 0 ? 0 : saved_argument(record, call->plan->keyed[0]);
	key->args[1] = call->plan->keyed[1] < 0 ? 0 : saved_argument(record, call->plan->keyed[1]);
	key->args[2] = call->plan->keyed[2] < 0 ? 0 : saved_argument(record, call->plan->keyed[2]);
	if (key->process == CLASS_UNKNOWN)
		return 0;

	u32 *verdict = verdicts.lookup(key);
	if (verdict && *verdict == VERDICT_LOOK) {
		u32 given, real = CLASS_NONE;
		if (call->plan->flags & PLAN_SUBJECT_END) {
			given = class_of_connection(record, call->plan, *now);
		} else {
			given = class_of_given(record, call->plan, *now);
			real = class_of_real(record, result, *now);
		}
		key->given = given;
		key->real = real;
		verdict = given != CLASS_UNKNOWN && real != CLASS_UNKNOWN ? verdicts.lookup(key) : NULL;
	}
	if (verdict && *verdict == VERDICT_DROP) {
		count(FILTERED_CALLS);
		return 1;
	}
	facts->verdict = verdict ? *verdict : 0;
	return 0;
}
