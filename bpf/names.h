/* The names of a file that a call opens: as passed, and as the kernel resolved it; and what the automata say of them. */

static __always_inline void copy_name(u8 *target, const char *name, u32 length)
{
#ifdef DIRECT_READS
	if (length <= 32) { /* a word at a time, past the end too: the next component overwrites that */
		name = OBJECT(name);
		*(u64 *)target = MEMBER(u64, name, 0);
		*(u64 *)(target + 8) = MEMBER(u64, name, 8);
		*(u64 *)(target + 16) = MEMBER(u64, name, 16);
		*(u64 *)(target + 24) = MEMBER(u64, name, 24);
		return;
	}
#endif
	FORGET(length);
	bpf_probe_read_kernel(target, length & 255, name);
}

/* Ends a name at `length` with as many NULs as a word takes. */
static __always_inline u32 end_name(struct name *name, u32 length)
{
	FORGET(length);
	*(u64 *)(name->text + (length & (NAME_SIZE - 1))) = 0;
	name->length = length;
	return length < NAME_SIZE ? length : 0;
}

/* The text of a struct path from the process's root. Its length; 0 if it can't be had: too long, too deep, outside of
 * the root, or no place in the tree. */
static __always_inline u32 name_of_path(struct record *record, struct name *name, const char *path)
{
	const char *fs = OBJECT(READ_POINTER((const char *)bpf_get_current_task(), TASK_FS)), *place = OBJECT(path);
	const char *root_mount = MEMBER_POINTER(fs, FS_ROOT + PATH_MNT) - MOUNT_MNT;
	const char *root_dentry = MEMBER_POINTER(fs, FS_ROOT + PATH_DENTRY);
	const char *mount = MEMBER_POINTER(place, PATH_MNT) - MOUNT_MNT;
	const char *dentry = MEMBER_POINTER(place, PATH_DENTRY);
	const char *mount_root = READ_POINTER(mount, MOUNT_MNT + VFSMOUNT_ROOT);
	u32 arrived = 0, at = 0;

	record->depth = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 2 * COMPONENTS; i++) {
		if (dentry == root_dentry && mount == root_mount) {
			arrived = 1;
			break;
		}
		if (dentry == mount_root) {
			const char *here = OBJECT(mount), *parent = MEMBER_POINTER(here, MOUNT_PARENT);
			if (parent == mount)
				break;
			dentry = MEMBER_POINTER(here, MOUNT_MOUNTPOINT);
			mount = parent;
			mount_root = READ_POINTER(mount, MOUNT_MNT + VFSMOUNT_ROOT);
			continue;
		}
		const char *parent = READ_POINTER(dentry, DENTRY_PARENT);
		u32 depth = record->depth;
		if (parent == dentry || depth >= COMPONENTS)
			break;
		record->components[depth & (COMPONENTS - 1)] = dentry;
		record->depth = depth + 1;
		dentry = parent;
	}
	if (!arrived)
		return 0;
	name->text[0] = '/';
	name->length = record->depth == 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < COMPONENTS; i++) {
		u32 depth = record->depth;
		if (!depth)
			break;
		depth--;
		record->depth = depth;
		dentry = OBJECT(record->components[depth & (COMPONENTS - 1)]);
		u32 length = MEMBER(u32, dentry, DENTRY_NAME_LENGTH);
		at = name->length;
		if (at + length + 2 > NAME_SIZE || length > 255)
			return 0;
		at &= NAME_SIZE - 1;
		name->text[at] = '/';
		copy_name(name->text + at + 1, MEMBER_POINTER(dentry, DENTRY_NAME), length);
		name->length = at + 1 + length;
	}
	return end_name(name, name->length);
}

/* The name that the caller passed, made absolute. `raw`: where in it begins what was passed. Its length, or 0. */
static __always_inline u32 name_as_given(struct record *record, struct plan *plan, u32 *raw)
{
	struct name *name = &record->given;
	u64 address = saved_argument(record, plan->path[0]);
	long length = bpf_probe_read_user_str(name->text, NAME_SIZE, (const void *)address);
	u32 at;

	*raw = 0;
	if (length <= 1 || length >= NAME_SIZE)
		return 0;
	if (name->text[0] == '/')
		return end_name(name, length - 1);
	s32 base = plan->base[0] < 0 ? AT_FDCWD : (s32)saved_argument(record, plan->base[0]);
	const char *from = READ_POINTER((const char *)bpf_get_current_task(), TASK_FS) + FS_PWD;
	if (base != AT_FDCWD) {
		const char *file = file_of(base);
		if (!file)
			return 0;
		from = file + FILE_PATH;
	}
	at = name_of_path(record, name, from);
	if (at == 0)
		return 0;
	if (at == 1) /* the root itself */
		at = 0;
	FORGET(at);
	at &= NAME_SIZE - 1;
	name->text[at] = '/';
	length = bpf_probe_read_user_str(name->text + at + 1, NAME_SLACK - 1, (const void *)address);
	if (length <= 1 || length >= NAME_SLACK - 1)
		return 0;
	*raw = at + 1;
	return end_name(name, at + length);
}

static __always_inline u32 same_name(struct name *one, struct name *other)
{
	if (one->length != other->length)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 at = 0; at < NAME_SIZE; at += 8) {
		if (at >= ANEW(one->length))
			break;
		if (*(u64 *)(one->text + at) != *(u64 *)(other->text + at))
			return 0;
	}
	return 1;
}

/* What the automata say of a name; length at most NAME_SIZE. */
static __always_inline struct accepts accepts_of_name(struct record *record, const u8 *table, struct name *name)
{
	u32 length = name->length;
	u64 hash = length;
	struct memo *memo;

	if (length > MEMO_WORDS * 8)
		return accepts_of(table, name->text, length);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MEMO_WORDS; i++) {
		if (i * 8 >= ANEW(name->length)) /* else newer compilers make one bound of two, and the verifier can't follow */
			break;
		hash = (hash ^ ((u64 *)name->text)[i]) * 0x9e3779b97f4a7c15;
	}
	memo = &record->memos[hash >> 58];
	u64 differs = memo->length ^ length;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MEMO_WORDS; i++) {
		if (i * 8 >= ANEW(name->length))
			break;
		differs |= memo->text[i] ^ ((u64 *)name->text)[i];
	}
	if (differs) {
		memo->accepts = accepts_of(table, name->text, ANEW(name->length));
		memo->length = length;
		__builtin_memcpy(memo->text, name->text, sizeof(memo->text));
	}
	return memo->accepts;
}

/* Looks at the names of a call that opens a file: as given, and as resolved. */
static __always_inline void look_at_names(struct record *record, struct plan *plan, const char *file, s64 result)
{
	struct looks *looks = &record->looks;
	u32 zero = 0, raw, words = ANEW(plan->words);
	const u8 *table = (const u8 *)automaton.lookup(&zero);
	u32 length = name_as_given(record, plan, &raw);

	if (!table || !length)
		return;
	if (result == -13 || result == -1) /* EACCES, EPERM: user space looks up what was refused */
		return;
	if (file && !name_of_path(record, &record->real, file + FILE_PATH))
		return;
	struct accepts given = accepts_of_name(record, table, &record->given), real = given;
	if (file && !same_name(&record->given, &record->real))
		real = accepts_of_name(record, table, &record->real);
	if (plan->raw_names) {
		struct accepts passed = given;
		if (raw) /* behind the folder that it starts from */
			passed = accepts_of(table, record->given.text + (raw & (NAME_SIZE - 1)), length - raw);
		looks->raw = plan->raw_names + passed.begun * words;
		looks->raw_floating = plan->raw_floating + passed.floating * words;
	}
	if (given.unclean)
		return;
	looks->given = plan->names + given.begun * words;
	looks->given_floating = plan->floating + given.floating * words;
	looks->real = plan->names + real.begun * words;
	looks->real_floating = plan->floating + real.floating * words;
	if (given.begun && given.floating && real.begun && real.floating)
		record->filter.known |= KNOWN_NAME;
}
