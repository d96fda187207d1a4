// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The last step of the filter: the rate limit. */

#include "filter.h"
#include "rate_limit.h"
#include "task.h"

/* Finds the candidates of a call, and stops it if none of their rules may send another record. */
int admit(struct call_context *ctx)
{
	u32 zero = 0;
	struct record *record = scratch();
	struct settings *now = settings.lookup(&zero);
	const u64 *table = candidate_sets.lookup(&zero);
	const char *task = (const char *)bpf_get_current_task();
	struct ring_state ring = STATE_OF(CALLS_RING);
	if (!record)
		return 0;
	if (!now || !table)
		return done(record);
	u32 room = process_has_room(record, task, &ring);
	if (record->filtered) {
		struct plan *plan = plan_of(record->call_number);
		if (!plan)
			return done(record);
		record->call_memos[record->call_slot % MEMOS].valid = 0;
		find_candidates(table, &record->sets, plan->first * 64, READ_ONCE(plan->words), &record->candidates);
		u32 limit = now->flood_limit;
		u32 answer = admitted(record, limit, room, &ring);
		if (answer == IF_UNLIKE)
			answer = admitted_as_unlike(record, limit, room, &ring, likeness_of(record, plan, task));
		if (!answer) {
			count_refused(record, limit);
			return done(record);
		}
		record->filter.start = READ(u64, READ_POINTER(task, TASK_GROUP_LEADER), TASK_START_BOOTTIME);
		if (!(record->filter.known & (KNOWN_PROCESS | NOT_TO_BE_LEARNED)))
			record->filter.as_of = bpf_ktime_get_boot_ns(); /* before anything of the process is read */
	} else if (!room | !rule_has_room(record, &ring)) {
		count_loss(LOST_CALLS, 0);
		return done(record);
	}
	families.call(ctx, FAMILY_HEADER);
	return lost(record);
}
