/* The filter's look at a call, before anything is recorded. */

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

/* The row of a kind of call, or NOTHING_KNOWN. */
static __always_inline u32 call_row(struct record *record, struct call_key *key)
{
	const u64 *words = (const u64 *)key;
	struct call_memo *memo = &record->call_memos[(key->call ^ key->args[0] ^ key->args[1] ^ key->result) % MEMOS];
	const u64 *known = (const u64 *)&memo->key;

	if (memo->row && !((words[0] ^ known[0]) | (words[1] ^ known[1]) | (words[2] ^ known[2])))
		return memo->row;
	u32 *found = call_rows.lookup(key);
	if (!found)
		return NOTHING_KNOWN;
	memo->key = *key;
	memo->row = *found;
	return *found;
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
		if (i * 8 >= length)
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

/* The kind of the file behind a descriptor; KIND_UNKNOWN for one without a place in the tree, which may be anything. */
static __always_inline u32 kind_of(const char *file)
{
	const char *opened = OBJECT(file), *dentry = MEMBER_POINTER(opened, FILE_PATH + PATH_DENTRY);
	if (READ_POINTER(dentry, DENTRY_PARENT) == dentry)
		return KIND_UNKNOWN;
	return (READ(u16, MEMBER_POINTER(opened, FILE_INODE), INODE_MODE) & S_IFMT) >> 12;
}

/* The row of a socket: by the call, its kind and its ends, as user space takes them from the record. The client's port is
 * left out of a connect and an accept: it is another one each time, and nothing that is looked at depends on it. */
static __always_inline u32 connection_row(struct record *record, struct call *call, s64 result)
{
	struct plan *plan = call->plan;
	u32 accepts = plan->descriptor == RETURNED, messages = plan->family == FAMILY_MESSAGE;
	const char *file = file_of(accepts ? (s32)result : (s32)saved_argument(record, plan->descriptor));
	if (!file || (READ(u16, READ_POINTER(file, FILE_INODE), INODE_MODE) & S_IFMT) != S_IFSOCK)
		return NOTHING_KNOWN;
	const char *sock = READ_POINTER(READ_POINTER(file, FILE_PRIVATE), SOCKET_SK);
	u16 family = READ(u16, sock, SOCK_FAMILY), protocol = READ(u16, sock, SOCK_PROTOCOL);
	struct connection_key *key = &record->connection;
	__builtin_memset(key, 0, sizeof(*key));
	key->call = call->number;
	key->family = family;
	key->type = READ(u16, sock, SOCK_TYPE);
	key->protocol = protocol;
	if (family == AF_INET || family == AF_INET6) {
		u16 remote_port = READ(u16, sock, SOCK_REMOTE_PORT);
		if (family == AF_INET) {
			bpf_probe_read_kernel(key->local, 4, sock + SOCK_LOCAL_V4);
			bpf_probe_read_kernel(key->remote, 4, sock + SOCK_REMOTE_V4);
		} else {
			bpf_probe_read_kernel(key->local, 16, sock + SOCK_LOCAL_V6);
			bpf_probe_read_kernel(key->remote, 16, sock + SOCK_REMOTE_V6);
		}
		if (!accepts)
			key->remote_port = remote_port;
		if (messages)
			key->role = socket_role(sock, protocol);
		if (accepts || messages)
			key->local_port = READ(u16, sock, SOCK_LOCAL_PORT);
		if (!remote_port) { /* what was passed counts, up to the address */
			u64 passed = plan->address < 0 ? 0 : saved_argument(record, plan->address);
			u16 passed_family = READ_USER(u16, passed);
			if (passed_family == AF_INET)
				bpf_probe_read_user(key->passed, 8, (const void *)passed);
			else if (passed_family == AF_INET6)
				bpf_probe_read_user(key->passed, 24, (const void *)passed);
			else
				return NOTHING_KNOWN;
		}
	}
	u32 *row = connection_rows.lookup(key);
	return row ? *row : NOTHING_KNOWN;
}

static __always_inline u64 current_cgroup(const char *task)
{
#if defined(DIRECT_READS) && defined(CSS_SET_DFL_CGROUP)
	const char *cgroup = READ_POINTER(READ_POINTER(task, TASK_CGROUPS), CSS_SET_DFL_CGROUP);
	return READ(u64, READ_POINTER(cgroup, CGROUP_KN), KERNFS_ID);
#else
	return bpf_get_current_cgroup_id();
#endif
}

/* The row of the process that is known to be true now. */
static __always_inline u32 process_row(struct filter_facts *facts)
{
	u32 zero = 0;
	const char *task = OBJECT(bpf_get_current_task());
	u32 slot = MEMBER(u32, task, TASK_TGID) % PROCESS_SLOTS;
	u64 *last_change = lineage.lookup(&zero), *change = changed.lookup(&slot);
	struct process_class *known = process_classes.lookup(&slot);

	facts->start = READ(u64, MEMBER(u64, task, TASK_GROUP_LEADER), TASK_START_BOOTTIME);
	facts->cred = MEMBER(u64, task, TASK_CRED);
	if (!known || !change || !last_change || !known->confirmed || known->start != facts->start ||
	    known->cred != facts->cred || known->as_of <= *change || known->cgroup != current_cgroup(task))
		return NOTHING_KNOWN;
	if (known->as_of <= *last_change)
		return known->own;
	facts->known |= KNOWN_PROCESS;
	return known->row;
}

#define ARGUMENT_KEY(index) (plan->keyed[index] < 0 ? 0 : saved_argument(record, plan->keyed[index]))

/* Whether the call stays in the kernel; what else was found out stands in record->filter. */
static __always_inline u32 filtered(struct record *record, struct call *call, s64 result)
{
	u32 zero = 0;
	struct settings *now = settings.lookup(&zero);
	struct filter_facts *facts = &record->filter;
	struct call_key *key = &facts->key;
	struct looks *looks = &record->looks;
	struct plan *plan = call->plan;
	u32 everything = plan->everything;
	const char *file = NULL;

	facts->known = call->compat ? NOT_TO_BE_LEARNED : 0;
	facts->as_of = 0;
	record->share.rule = 0;
	const u64 *table = rows.lookup(&zero);
	if (!now || !table || !now->filtering || !ANEW(plan->words)) {
		facts->known = NOT_TO_BE_LEARNED;
		record->filtered = 0;
		return 0;
	}
	record->filtered = 1;
	looks->given = looks->given_floating = looks->real = looks->real_floating = everything;
	looks->process = looks->call = looks->connection = looks->raw = looks->raw_floating = everything;
	if (!call->compat) {
		save_arguments(record, call);
		u32 row = process_row(facts);
		if (row != NOTHING_KNOWN)
			looks->process = row + plan->first;
		key->call = call->number;
		key->result = result > 16 ? 16 : result;
		key->args[0] = ARGUMENT_KEY(0);
		key->args[1] = ARGUMENT_KEY(1);
		key->args[2] = ARGUMENT_KEY(2);
		key->kind = KIND_NONE;
		if ((plan->flags & PLAN_SUBJECT_PATH) && result >= 0) {
			file = file_of(result);
			key->kind = file ? kind_of(file) : KIND_UNKNOWN;
		}
		row = call_row(record, key);
		if (row != NOTHING_KNOWN) {
			looks->call = row;
			facts->known |= KNOWN_CALL;
		}
		if (!any_possible_yet(table, looks, ANEW(plan->words)))
			goto stays;
		if (plan->names && key->kind != KIND_UNKNOWN)
			look_at_names(record, plan, file, result);
		if (plan->flags & PLAN_SUBJECT_END) {
			u32 row = connection_row(record, call, result);
			if (row != NOTHING_KNOWN) {
				looks->connection = row;
				facts->known |= KNOWN_CONNECTION;
			}
		}
	}
	if (any_possible(table, looks, ANEW(plan->words)))
		return 0;
stays:
	count(FILTERED_CALLS);
	return 1;
}

/* Shares out the buffer among those calls that weren't stopped. */
int admit(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct record *record = scratch();
	struct settings *now = settings.lookup(&zero);
	const u64 *table = rows.lookup(&zero);
	if (!record || !now || !table)
		return 0;
	if (record->filtered) {
		struct plan *plan = plan_of(record->call_number);
		if (!plan)
			return 0;
		find_survivors(table, &record->looks, plan->first * 64, ANEW(plan->words), &record->survivors);
		if (!admitted(&record->survivors, &record->share, record->filter.known, now->flood_limit))
			return 0;
		if (!(record->filter.known & (KNOWN_PROCESS | NOT_TO_BE_LEARNED)))
			record->filter.as_of = bpf_ktime_get_boot_ns(); /* before anything of the process is read */
	}
	families.call(ctx, FAMILY_HEADER);
	return 0;
}
