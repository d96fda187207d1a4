/* The filter's look at a call, before anything is recorded. */

#include "names.h"

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
