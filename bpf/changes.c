// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Tracepoints of changes that conditions on processes can see. Those that come with a process's life are noticed in
 * processes.c, those that are made by a system call in calls.c. */

#include "changes.h"

/* task_rename(task, comm): by prctl, through /proc, and at exec */
int on_rename(struct bpf_raw_tracepoint_args *ctx)
{
	const char *task = (const char *)ctx->args[0];
	changed_process(READ(u32, task, TASK_TGID));
	if (has_descendants(task))
		changed_lineage(bpf_ktime_get_boot_ns() + CHANGE_TAKES);
	return 0;
}
