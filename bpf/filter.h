/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_FILTER_H
#define TIERCEL_FILTER_H

#include "decide.h"
#include "maps.h"
#include "names.h"
#include "path.h"
#include "read.h"
#include "registers.h"
#include "scratch.h"

/* The filter: which calls stay in the kernel, because no rule can match them. This is its first look at a call, by the
 * process and the arguments. Where rules ask for names or connections, other programs go on (names.c, connections.c); the
 * last step is admit.c.
 *
 * The candidate sets of names come from the automaton, which is made with the rules. Those of processes, of kinds of calls
 * and of connections are learned: user space evaluates the calls that it gets, and writes the sets into the maps. */

/* What is known of a kind of call. That it has no candidate set is kept too, until a call of this kind passes: user space
 * may then learn it. */
static __always_inline struct call_memo *memo_of(struct record *record, struct call_key *key)
{
	u32 slot = (key->call ^ key->args[0] ^ key->args[1] ^ key->result) % MEMOS;
	const u64 *words = (const u64 *)key;
	struct call_memo *memo = &record->call_memos[slot];
	const u64 *known = (const u64 *)&memo->key;

	record->call_slot = slot;
	if (memo->valid && !((words[0] ^ known[0]) | (words[1] ^ known[1]) | (words[2] ^ known[2])))
		return memo;
	u32 *set = call_sets.lookup(key);
	memo->key = *key;
	memo->valid = 1;
	memo->set = set ? *set : NOTHING_KNOWN;
	memo->process_set = 0;
	return memo;
}

/* The kind of the file that was opened, and whether it was created. A file without a place in the tree may be anything:
 * KIND_UNKNOWN. */
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
	u32 created = READ(u32, opened, FILE_MODE) & FMODE_CREATED;
	return (READ(u16, inode, INODE_MODE) & S_IFMT) >> 12 | created / (FMODE_CREATED / KIND_CREATED);
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

/* The candidate set of the process, if it is known and nothing has changed since it was learned. */
static __always_inline u32 process_set(struct filter_facts *facts, struct settings *now, const char *task, u32 pid)
{
	u32 slot = pid % PROCESS_SLOTS;
	u64 *change = changed.lookup(&slot);
	struct process_class *known = process_classes.lookup(&slot);

	facts->cred = MEMBER(u64, task, TASK_CRED);
	if (!known || !change || !known->confirmed || known->pid != pid ||
	    known->cred != facts->cred || known->as_of <= *change || known->cgroup != current_cgroup(task))
		return NOTHING_KNOWN;
	if (known->as_of <= now->lineage)
		return known->own_set;
	facts->known |= KNOWN_PROCESS;
	return known->set;
}

#define ARGUMENT_KEY(index) (plan->keyed[index] < 0 ? 0 : saved_argument(record, plan->keyed[index]))

/* Results after which user space looks the refused file up: the name alone doesn't decide. */
#define NOT_PERMITTED -1 /* EPERM */
#define NO_ACCESS -13    /* EACCES */

/* Returns the program that goes on with the call; 0: the call stays in the kernel. What is known of it is then in
 * record->filter. */
static __always_inline u32 next_program(struct record *record, struct call *call, s64 result, struct settings *now,
				    u32 pid)
{
	struct filter_facts *facts = &record->filter;
	struct call_key *key = &facts->key;
	struct signal_sets *sets = &record->sets;
	struct plan *plan = call->plan;
	u32 all_clauses = plan->all_clauses;

	facts->known = NOT_TO_BE_LEARNED;
	facts->as_of = 0;
	record->rule.rule = 0;
	record->filtered = 0;
	record->flags = 0;
	if (!READ_ONCE(plan->words))
		return FAMILY_ADMIT;
	record->filtered = 1;
	sets->process = sets->call = sets->given = sets->given_floating = all_clauses;
	sets->real = sets->real_floating = sets->raw = sets->raw_floating = sets->connection = all_clauses;
	if (call->compat | is_exchanged(record))
		return FAMILY_ADMIT;

	const char *task = OBJECT(bpf_get_current_task());
	facts->known = 0;
	save_arguments(record, call);
	u32 set = process_set(facts, now, task, pid);
	if (set != NOTHING_KNOWN)
		sets->process = set + plan->first;
	key->call = call->number;
	key->result = result > 16 ? 16 : result;
	key->args[0] = ARGUMENT_KEY(0);
	key->args[1] = ARGUMENT_KEY(1);
	key->args[2] = ARGUMENT_KEY(2);
	key->kind = KIND_NONE;
	record->names_key.file.mount = record->names_key.file.dentry = NULL;
	if ((plan->flags & PLAN_SUBJECT_PATH) && result >= 0)
		key->kind = kind_of(record, record->file);
	struct call_memo *memo = memo_of(record, key);
	if (memo->set != NOTHING_KNOWN) {
		sets->call = memo->set;
		facts->known |= KNOWN_CALL;
	}
	if (memo->process_set != sets->process) {
		u32 zero = 0;
		const u64 *table = candidate_sets.lookup(&zero);
		if (!table)
			return FAMILY_ADMIT;
		memo->possible = any_candidate_yet(table, sets, READ_ONCE(plan->words));
		memo->process_set = sets->process;
	}
	if (!memo->possible)
		return 0;
	if (plan->names && key->kind != KIND_UNKNOWN && result != NOT_PERMITTED && result != NO_ACCESS)
		return look_for_names(record, plan, task);
	return plan->flags & PLAN_SUBJECT_END ? FAMILY_CONNECTION : FAMILY_ADMIT;
}

#endif
