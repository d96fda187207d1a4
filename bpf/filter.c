/* The filter's first look at a call, before anything is recorded, and its last. */

/* What is known of a kind of call. That it has no row is noted too, until a call of the kind passes: it may then be
 * learned. */
static __always_inline struct call_memo *memo_of(struct record *record, struct call_key *key)
{
	u32 slot = (key->call ^ key->args[0] ^ key->args[1] ^ key->result) % MEMOS;
	const u64 *words = (const u64 *)key;
	struct call_memo *memo = &record->call_memos[slot];
	const u64 *known = (const u64 *)&memo->key;

	record->call_slot = slot;
	if (memo->valid && !((words[0] ^ known[0]) | (words[1] ^ known[1]) | (words[2] ^ known[2])))
		return memo;
	u32 *found = call_sets.lookup(key);
	memo->key = *key;
	memo->valid = 1;
	memo->row = found ? *found : NOTHING_KNOWN;
	memo->process = 0;
	return memo;
}

/* The kind of the file that was opened; KIND_UNKNOWN for one without a place in the tree, which may be anything. */
static __always_inline u32 kind_of(struct record *record, const char *file)
{
	if (!file)
		return KIND_UNKNOWN;
	const char *opened = OBJECT(file), *inode = MEMBER_POINTER(opened, FILE_INODE);
	struct place place = {.mount = MEMBER_POINTER(opened, FILE_PATH + PATH_MNT) - MOUNT_MNT,
			      .dentry = MEMBER_POINTER(opened, FILE_PATH + PATH_DENTRY)};
	record->names_key.file = place;
	if (READ_POINTER(place.dentry, DENTRY_PARENT) == place.dentry)
		return KIND_UNKNOWN;
	return (READ(u16, inode, INODE_MODE) & S_IFMT) >> 12;
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
static __always_inline u32 process_row(struct filter_facts *facts, struct settings *now, const char *task, u32 pid)
{
	u32 slot = pid % PROCESS_SLOTS;
	u64 *change = changed.lookup(&slot);
	struct process_class *known = process_classes.lookup(&slot);

	facts->cred = MEMBER(u64, task, TASK_CRED);
	if (!known || !change || !known->confirmed || known->pid != pid ||
	    known->cred != facts->cred || known->as_of <= *change || known->cgroup != current_cgroup(task))
		return NOTHING_KNOWN;
	if (known->as_of <= now->lineage)
		return known->own;
	facts->known |= KNOWN_PROCESS;
	return known->row;
}

#define ARGUMENT_KEY(index) (plan->keyed[index] < 0 ? 0 : saved_argument(record, plan->keyed[index]))

#define NOT_PERMITTED -1 /* EPERM, EACCES: user space looks up the file that was refused */
#define NO_ACCESS -13

/* Which program goes on with the call; 0: it stays in the kernel. What was found out stands in record->filter. */
static __always_inline u32 next_program(struct record *record, struct call *call, s64 result, struct settings *now,
				    u32 pid)
{
	struct filter_facts *facts = &record->filter;
	struct call_key *key = &facts->key;
	struct looks *looks = &record->looks;
	struct plan *plan = call->plan;
	u32 everything = plan->everything;

	facts->known = NOT_TO_BE_LEARNED;
	facts->as_of = 0;
	record->share.rule = 0;
	record->filtered = 0;
	if (!READ_ONCE(plan->words))
		return FAMILY_ADMIT;
	record->filtered = 1;
	looks->process = looks->call = looks->given = looks->given_floating = everything;
	looks->real = looks->real_floating = looks->raw = looks->raw_floating = looks->connection = everything;
	if (call->compat)
		return FAMILY_ADMIT;

	const char *task = OBJECT(bpf_get_current_task());
	facts->known = 0;
	save_arguments(record, call);
	u32 row = process_row(facts, now, task, pid);
	if (row != NOTHING_KNOWN)
		looks->process = row + plan->first;
	key->call = call->number;
	key->result = result > 16 ? 16 : result;
	key->args[0] = ARGUMENT_KEY(0);
	key->args[1] = ARGUMENT_KEY(1);
	key->args[2] = ARGUMENT_KEY(2);
	key->kind = KIND_NONE;
	record->file = NULL;
	record->names_key.file.mount = record->names_key.file.dentry = NULL;
	if ((plan->flags & PLAN_SUBJECT_PATH) && result >= 0) {
		record->file = opened_file(task, result);
		key->kind = kind_of(record, record->file);
	}
	struct call_memo *memo = memo_of(record, key);
	if (memo->row != NOTHING_KNOWN) {
		looks->call = memo->row;
		facts->known |= KNOWN_CALL;
	}
	if (memo->process != looks->process) {
		u32 zero = 0;
		const u64 *table = candidate_sets.lookup(&zero);
		if (!table)
			return FAMILY_ADMIT;
		memo->possible = any_possible_yet(table, looks, READ_ONCE(plan->words));
		memo->process = looks->process;
	}
	if (!memo->possible)
		return 0;
	if (plan->names && key->kind != KIND_UNKNOWN && result != NOT_PERMITTED && result != NO_ACCESS)
		return look_for_names(record, plan, task);
	return plan->flags & PLAN_SUBJECT_END ? FAMILY_CONNECTION : FAMILY_ADMIT;
}

/* Shares out the buffer among those calls that weren't stopped. */
int admit(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct record *record = scratch();
	struct settings *now = settings.lookup(&zero);
	const u64 *table = candidate_sets.lookup(&zero);
	if (!record)
		return 0;
	if (!now || !table)
		return done(record);
	if (record->filtered) {
		struct plan *plan = plan_of(record->call_number);
		if (!plan)
			return done(record);
		record->call_memos[record->call_slot % MEMOS].valid = 0;
		find_survivors(table, &record->looks, plan->first * 64, READ_ONCE(plan->words), &record->survivors);
		if (!admitted(&record->survivors, &record->share, record->filter.known, now->flood_limit))
			return done(record);
		const char *task = (const char *)bpf_get_current_task();
		record->filter.start = READ(u64, READ_POINTER(task, TASK_GROUP_LEADER), TASK_START_BOOTTIME);
		if (!(record->filter.known & (KNOWN_PROCESS | NOT_TO_BE_LEARNED)))
			record->filter.as_of = bpf_ktime_get_boot_ns(); /* before anything of the process is read */
	}
	families.call(ctx, FAMILY_HEADER);
	return lost(record);
}
