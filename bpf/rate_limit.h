/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_RATE_LIMIT_H
#define TIERCEL_RATE_LIMIT_H

#include "decide.h"
#include "maps.h"
#include "path.h"
#include "scratch.h"
#include "shares.h"

/* How many calls of each rule in each cgroup go to user space.
 *
 * Where the kernel alone decides that a rule matches, matches above the limit a second are suppressed: counted, and
 * reported as one alert. Only those that are like others are: what a program does that it hasn't just done is reported,
 * up to the same limit once more. Where user space must decide, nothing is held back as long as there is room in the ring
 * (shares.h). */

#define LIKENESS_TEXT 512        /* bytes of a name that likeness counts */
#define LIKE_FOR 60000000000ull /* ns for which what was told counts as told */

/* The counter of a rule in a cgroup. If there is no room for one, that of the rule in all such cgroups. */
static __always_inline struct rule_counter *counter_of(struct rule_key *key)
{
	struct rule_counter *counter = rule_counters.lookup(key);
	if (counter)
		return counter;
	u32 *number = pool_of_rule.lookup(&key->rule), system = 0;
	struct counter_pool *pool = counter_pools.lookup(number ? number : &system);
	if (pool && READ_ONCE(pool->used) < pool->room) {
		struct rule_counter none = {};
		if (rule_counters.insert(key, &none) == 0)
			__sync_fetch_and_add(&pool->used, 1);
		return rule_counters.lookup(key);
	}
	struct rule_key any = {.cgroup = 0, .rule = key->rule};
	return rule_counters.lookup(&any);
}

/* Whether the signals have decided a clause: it certainly matches. */
static __always_inline u32 is_decided(u32 entry, u32 known)
{
	return (entry & EXACT) && !(NEEDS(entry) & ~known);
}

/* A number that alerts of the same program and the same file or peer have in common. */
static __always_inline u64 likeness_of(struct record *record, struct plan *plan, const char *task)
{
	const char *exe = READ_POINTER(READ_POINTER(task, TASK_MM), MM_EXE_FILE);
	const u64 *words = (const u64 *)record->sections; /* not in use yet */
	u64 likeness = share_of((u64)READ_POINTER(exe, FILE_INODE), (u64)record->names_key.file.dentry);

	if (plan->descriptor >= 0 && plan->descriptor != RETURNED) {
		const char *file = file_of((s32)saved_argument(record, plan->descriptor));
		likeness = share_of(likeness, (u64)(file ? READ_POINTER(file, FILE_PATH + PATH_DENTRY) : NULL));
	}
	if (record->filter.known & KNOWN_CONNECTION) {
		const u64 *ends = (const u64 *)&record->connection;
#pragma clang loop unroll(full)
		for (u32 i = 0; i < sizeof(record->connection) / 8; i++)
			likeness = share_of(likeness, ends[i]);
	}
	for (u32 slot = 0; slot < 2; slot++) {
		if (plan->path[slot] < 0)
			continue;
		const void *address = (const void *)saved_argument(record, plan->path[slot]);
		long length = bpf_probe_read_user_str(record->sections, LIKENESS_TEXT, address);
		if (length <= 0)
			continue;
		*(u64 *)(record->sections + (length & (2 * LIKENESS_TEXT - 1))) = 0;
#pragma clang loop unroll(disable)
		for (u32 i = 0; i < LIKENESS_TEXT / 8; i++) {
			barrier_var(i);
			if (i * 8 >= length)
				break;
			likeness = share_of(likeness, words[i]);
		}
	}
	return likeness;
}

/* Whether a match is beyond the limit of its rule, but unlike those that were told lately. */
static __always_inline u32 is_unlike(struct rule_counter *counter, u64 likeness, struct rule_key *key, u32 limit)
{
	u64 now = bpf_ktime_get_boot_ns(), match = share_of(share_of(likeness, key->cgroup), key->rule);
	u64 *told = told_matches.lookup(&match);

	if (counter->unlike_in_second >= limit || (told && now - *told < LIKE_FOR))
		return 0;
	told_matches.update(&match, &now);
	__sync_fetch_and_add(&counter->unlike_in_second, 1);
	return 1;
}

#define ADMITTED 1
#define NOT_ADMITTED 0
#define IF_UNLIKE 2 /* some match is beyond its limit */

/* Whether the call goes to user space: if the rule of one of its candidates may send another record. `limit` is the number of matches a second, `room` whether the process has room for more
 * calls. record->rule is left as the rule that sends. */
static __always_inline u32 admitted(struct record *record, u32 limit, u32 room, struct ring_state *ring)
{
	struct candidates *candidates = &record->candidates;
	struct rule_key *key = &record->rule;
	u64 second = bpf_ktime_get_boot_ns() / 1000000000;
	u32 crowd = candidates->count > MAX_CANDIDATES, answer = NOT_ADMITTED;
	u32 namespaces_room = namespaces_have_room(ring);

	key->cgroup = bpf_get_current_cgroup_id();
	for (u32 i = 0; i < MAX_CANDIDATES; i++) {
		if (i >= candidates->count)
			break;
		u32 *rule = clause_rules.lookup(&candidates->clause[i]);
		if (!rule)
			return ADMITTED;
		u32 exact = !crowd && is_decided(*rule, record->filter.known);
		key->rule = crowd ? UNCLASSIFIED : *rule & RULE;
		struct rule_counter *counter = counter_of(key);
		if (!counter)
			return ADMITTED;
		if (counter->second != second) {
			counter->second = second;
			counter->in_second = counter->unlike_in_second = 0;
		}
		if (i == 0 && !(*rule & OF_SYSTEM))
			record->flags = FLAG_NAMESPACES;
		if (!(*rule & OF_SYSTEM))
			room &= namespaces_room;
		if (rule_has_room(record, ring) & room) {
			if (!exact || counter->in_second < limit) {
				if (exact) /* calls that only may match must not use up what is there for matches */
					__sync_fetch_and_add(&counter->in_second, 1);
				__sync_fetch_and_add(&counter->passed, 1);
				return ADMITTED;
			}
			answer = IF_UNLIKE;
		}
		if (crowd)
			break;
	}
	return answer;
}

/* The same for a call whose certain matches are all beyond the limit: whether one of them is unlike others. */
static __always_inline u32 admitted_as_unlike(struct record *record, u32 limit, u32 room, struct ring_state *ring,
					      u64 likeness)
{
	struct candidates *candidates = &record->candidates;
	struct rule_key *key = &record->rule;

	for (u32 i = 0; i < MAX_CANDIDATES; i++) {
		if (i >= candidates->count)
			break;
		u32 *rule = clause_rules.lookup(&candidates->clause[i]);
		if (!rule || !is_decided(*rule, record->filter.known))
			continue;
		key->rule = *rule & RULE;
		struct rule_counter *counter = counter_of(key);
		if (counter && (rule_has_room(record, ring) & room) && is_unlike(counter, likeness, key, limit)) {
			__sync_fetch_and_add(&counter->passed, 1);
			return 1;
		}
	}
	return 0;
}

/* Counts a call that isn't admitted: certain matches beyond the limit as suppressed, all others as lost. */
static __always_inline void count_refused(struct record *record, u32 limit)
{
	struct candidates *candidates = &record->candidates;
	struct rule_key *key = &record->rule;
	u32 crowd = candidates->count > MAX_CANDIDATES, counted = 0;

	for (u32 i = 0; i < MAX_CANDIDATES; i++) {
		if (i >= candidates->count)
			break;
		u32 *rule = clause_rules.lookup(&candidates->clause[i]);
		if (!rule)
			break;
		key->rule = crowd ? UNCLASSIFIED : *rule & RULE;
		if (key->rule == counted) /* the clauses of a rule follow each other */
			continue;
		counted = key->rule;
		struct rule_counter *counter = counter_of(key);
		if (counter && !crowd && is_decided(*rule, record->filter.known) && counter->in_second >= limit)
			__sync_fetch_and_add(&counter->suppressed, 1);
		else
			count_loss(LOST_CALLS, key->rule);
		if (crowd)
			break;
	}
}

#endif
