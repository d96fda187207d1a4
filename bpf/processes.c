// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The life of processes: the process table in user space is made from these records, whatever rules are loaded. */

#include "changes.h"
#include "path.h"
#include "registers.h"
#include "sections.h"
#include "shares.h"
#include "task.h"

/* The first bytes of the process's memory from `start` to `end`, as a section whose number is the length of all. What
 * can't be read is a section without bytes, so that it isn't taken for an empty text. */
static __always_inline void section_memory(struct record *record, u16 kind, u64 start, u64 end)
{
	u8 *payload = section_payload(record);
	u64 length = end - start;
	if (!payload || !length)
		return;
	u32 size = length > PIECE - 1 ? PIECE - 1 : length;
	size &= PIECE - 1;
	if (bpf_probe_read_user(payload, size, (const void *)start) != 0)
		size = 0;
	section_end(record, kind, size, length);
}

/* Adds the image of the current process to the record, whose header is filled in: arguments, environment, executable. */
int image(struct call_context *ctx)
{
	struct record *record = scratch();
	const char *mm = READ_POINTER((const char *)bpf_get_current_task(), TASK_MM);
	if (!record)
		return 0;
	if (!mm)
		return done(record);
	const char *file = READ_POINTER(mm, MM_EXE_FILE);

	record->header.type = RECORD_EXEC;
	record->header.result = 0;
	section_memory(record, SECTION_ARGS, READ(u64, mm, MM_ARG_START), READ(u64, mm, MM_ARG_END));
	u8 *count = section_payload(record); /* argc lies where the stack of the program began */
	if (count && bpf_probe_read_user(count, sizeof(u32), (const void *)READ(u64, mm, MM_START_STACK)) == 0)
		section_end(record, SECTION_ARGUMENT_COUNT, 0, *(u32 *)count);
#ifdef WANT_ENV
	section_memory(record, SECTION_ENV, READ(u64, mm, MM_ENV_START), READ(u64, mm, MM_ENV_END));
#endif
	if (file) {
		struct open_file exe = open_file(file);
		section_file_facts(record, SECTION_EXE, &exe, 0);
		want_path(record, SECTION_EXE_PATH, file + FILE_PATH);
	}
	want_base(record, SECTION_CWD, AT_FDCWD);
	families.call(ctx, FAMILY_SEND);
	return lost(record);
}

/* sched_process_exec(task, old_pid, bprm): the new image is in place, and its first instruction hasn't run yet. */
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	const char *bprm = (const char *)ctx->args[2];
	struct record *record = take_scratch();
	if (!record) {
		count(LOST_PROCESSES);
		return 0;
	}
	read_task(record, (const char *)bpf_get_current_task());
#ifdef BPRM_FDPATH
	if (READ_POINTER(bprm, BPRM_FDPATH))
		record->header.flags |= FLAG_BY_DESCRIPTOR;
#endif
	changed_process(record->header.self.pid);
	if (has_descendants((const char *)bpf_get_current_task()))
		changed_lineage(record->header.time + CHANGE_TAKES);
	section_ancestors(record);
	section_kernel_string(record, SECTION_FILENAME, READ_POINTER(bprm, BPRM_FILENAME), 0);
	families.call(ctx, FAMILY_IMAGE);
	return lost(record);
}

/* Records of forks and exits don't wake the reader, which looks ten times a second. */
#define QUIETLY 1 /* BPF_RB_NO_WAKEUP */

/* sched_process_fork(parent, child): the child has not run yet. */
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct fork_record fork = {.length = sizeof(fork), .type = RECORD_FORK};
	const char *child = (const char *)ctx->args[1];
	if (READ(u32, child, TASK_PID) != READ(u32, child, TASK_TGID)) /* a thread */
		return 0;
	read_process(&fork.child, child);
	changed_process(fork.child.pid); /* makes void what is known of an earlier process of that pid */
	const char *parent = (const char *)ctx->args[0];
	read_process(&fork.parent, parent);
	send_process(parent, parent, &fork, sizeof(fork), QUIETLY);
	return 0;
}

/* sched_process_exit(task): of every thread. A process ends with its last thread, which need not be its first one. Several
 * threads that end together may each find that no thread is left: `ended` lets one of them through. */
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	const char *task = (const char *)bpf_get_current_task();
	if (READ(u32, READ_POINTER(task, TASK_SIGNAL), SIGNAL_LIVE))
		return 0;
	struct exit_record exit = {.length = sizeof(exit), .type = RECORD_EXIT};
	exit.time = bpf_ktime_get_boot_ns();
	exit.status = READ(u32, task, TASK_EXIT_CODE);
	read_process(&exit.self, task);
	struct ended process = {.start = exit.self.start, .pid = exit.self.pid};
	u8 yes = 1;
	if (ended.insert(&process, &yes) != 0)
		return 0;
	undelivered.delete(&exit.self.pid);
	if (has_descendants(task))
		changed_lineage(exit.time + CHANGE_TAKES); /* until the exit is complete: FLAG_LINEAGE_ENDS */
	send_process(task, READ_POINTER(task, TASK_REAL_PARENT), &exit, sizeof(exit), QUIETLY);
#ifdef WANT_EXIT
	struct record *record = take_scratch();
	if (!record) {
		count(LOST_CALLS);
		return 0;
	}
	read_task(record, task);
	section_ancestors(record);
	record->header.type = RECORD_EXIT;
	record->header.result = exit.status;
	record->rule.rule = 0;
	struct ring_state ring = STATE_OF(CALLS_RING);
	if (!process_has_room(record, task, &ring) | !rule_has_room(record, &ring)) {
		count_loss(LOST_CALLS, 0);
		return done(record);
	}
	families.call(ctx, FAMILY_SEND);
	return lost(record);
#else
	return 0;
#endif
}
