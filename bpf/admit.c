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
	if (!record)
		return 0;
	if (!now || !table)
		return done(record);
	if (record->filtered) {
		struct plan *plan = plan_of(record->call_number);
		if (!plan)
			return done(record);
		record->call_memos[record->call_slot % MEMOS].valid = 0;
		find_candidates(table, &record->sets, plan->first * 64, READ_ONCE(plan->words), &record->candidates);
		if (!admitted(&record->candidates, &record->rule, record->filter.known, now->flood_limit))
			return done(record);
		const char *task = (const char *)bpf_get_current_task();
		record->filter.start = READ(u64, READ_POINTER(task, TASK_GROUP_LEADER), TASK_START_BOOTTIME);
		if (!(record->filter.known & (KNOWN_PROCESS | NOT_TO_BE_LEARNED)))
			record->filter.as_of = bpf_ktime_get_boot_ns(); /* before anything of the process is read */
	}
	families.call(ctx, FAMILY_HEADER);
	return lost(record);
}
