/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_CHANGES_H
#define TIERCEL_CHANGES_H

#include "maps.h"
#include "read.h"

/* Changes of processes: they make void what was learned of a process, or of all whose ancestors may have changed. */

/* A change is noticed before it is complete. What is learned within this time is void too. */
#define CHANGE_TAKES 1000000 /* ns */

/* Ancestors of some process may change, up to this time. */
static __always_inline void changed_lineage(u64 when)
{
	u32 zero = 0;
	struct settings *now = settings.lookup(&zero);
	if (now && now->lineage < when)
		now->lineage = when;
}

/* Something changes that a process's own candidate set depends on. */
static __always_inline void changed_process(u32 pid)
{
	u32 slot = pid % PROCESS_SLOTS;
	u64 *when = changed.lookup(&slot);
	if (when)
		*when = bpf_ktime_get_boot_ns() + CHANGE_TAKES;
}

/* Whether other processes may have this one among their ancestors. */
static __always_inline u32 has_descendants(const char *task)
{
	if (READ_POINTER(task, TASK_CHILDREN) != task + TASK_CHILDREN)
		return 1;
	return READ(u32, READ_POINTER(task, TASK_SIGNAL), SIGNAL_THREADS) > 1; /* children of other threads */
}

#endif
