/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_RATE_LIMIT_H
#define TIERCEL_RATE_LIMIT_H

#include "counters.h"
#include "decide.h"
#include "maps.h"

/* How many calls of each rule in each cgroup go to user space. Floods are counted here, and the ring is shared fairly.
 *
 * Where the kernel alone decides that a rule matches, matches above the limit a second are suppressed: counted, and
 * reported as one alert. Where user space must decide, nothing is held back until the ring is half full. From then on each
 * rule and cgroup may use a sixteenth of the ring; calls above that are lost, and counted by rule. So a flood of one rule
 * takes nothing from the others. */

#define RECORD_ESTIMATE 1024 /* bytes */

/* bpf_ringbuf_query: bcc has no method for it. The loader replaces CALLS_RING by the ring `calls`. */
#define QUERY(flag) query_ring((void *)bpf_pseudo_fd(1, CALLS_RING), flag)
#define CALLS_RING 0x7fff0002
#define AVAILABLE_DATA 0 /* BPF_RB_… */
#define RING_SIZE 1
#define CONSUMER_POSITION 2
#define PRODUCER_POSITION 3
static u64 (*query_ring)(void *ring, u64 flag) = (void *)134;

static __always_inline struct rule_counter *counter_of(struct rule_key *key)
{
	struct rule_counter *counter = rule_counters.lookup(key);
	if (counter)
		return counter;
	struct rule_counter none = {};
	rule_counters.insert(key, &none);
	return rule_counters.lookup(key);
}

/* Whether one more record of this rule and cgroup may go into the ring. */
static __always_inline u32 has_room(struct rule_counter *counter)
{
	u64 size = QUERY(RING_SIZE);
	if (QUERY(AVAILABLE_DATA) < size / 2)
		return 1;
	if (QUERY(CONSUMER_POSITION) >= counter->mark) {
		counter->mark = QUERY(PRODUCER_POSITION);
		counter->since = 0;
	}
	return counter->since * RECORD_ESTIMATE < size / 16;
}

/* Whether the signals have decided a clause: it certainly matches. */
static __always_inline u32 is_decided(u32 entry, u32 known)
{
	return (entry & EXACT) && !(NEEDS(entry) & ~known);
}

/* Whether the call goes to user space: if the rule of one of its candidates may send another record. `known` are the
 * signals that are known (KNOWN_…), `limit` is the number of matches a second. `key` is left as the rule that sends. */
static __always_inline u32 admitted(struct candidates *candidates, struct rule_key *key, u32 known, u32 limit)
{
	u64 second = bpf_ktime_get_boot_ns() / 1000000000;
	u32 crowd = candidates->count > MAX_CANDIDATES;

	key->cgroup = bpf_get_current_cgroup_id();
	for (u32 i = 0; i < MAX_CANDIDATES; i++) {
		if (i >= candidates->count)
			break;
		u32 *rule = clause_rules.lookup(&candidates->clause[i]);
		if (!rule)
			return 1;
		u32 exact = !crowd && is_decided(*rule, known);
		key->rule = crowd ? UNCLASSIFIED : *rule & RULE;
		struct rule_counter *counter = counter_of(key);
		if (!counter)
			return 1;
		if (counter->second != second) {
			counter->second = second;
			counter->in_second = 0;
		}
		if (exact ? counter->in_second < limit : has_room(counter)) {
			/* Counted apart: calls that only may match must not use up what is there for matches. */
			__sync_fetch_and_add(exact ? &counter->in_second : &counter->since, 1);
			__sync_fetch_and_add(&counter->passed, 1);
			return 1;
		}
		if (crowd)
			break;
	}
	u32 counted = 0;
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
		struct rule_counter *counter = rule_counters.lookup(key);
		if (counter && !crowd && is_decided(*rule, known))
			__sync_fetch_and_add(&counter->suppressed, 1);
		else if (counter)
			__sync_fetch_and_add(&counter->lost, 1);
		if (crowd)
			break;
	}
	return 0;
}

/* Counts a record that was admitted and found no room in the ring after all. */
static __always_inline void lost_record(struct rule_key *key)
{
	struct rule_counter *counter = key->rule ? rule_counters.lookup(key) : NULL;
	if (counter)
		__sync_fetch_and_add(&counter->lost, 1);
	else
		count(LOST_CALLS);
}

#endif
