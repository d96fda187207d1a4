// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* System calls at their return. on_return() sees every call, and ends at once if the number has no plan. Else the programs
 * of the filter follow, then those that make the record, each by a tail call (README.md). */

#include "changes.h"
#include "filter.h"
#include "path.h"
#include "rate_limit.h"
#include "registers.h"
#include "ring_records.h"
#include "sections.h"
#include "socket.h"
#include "task.h"

static __always_inline void section_filter(struct record *record)
{
	u8 *payload = section_payload(record);
	if (!payload)
		return;
	__builtin_memcpy(payload, &record->filter, sizeof(record->filter));
	section_end(record, SECTION_FILTER, sizeof(record->filter), 0);
}

static __always_inline void save_call(struct record *record, struct call *call)
{
	record->call_number = call->number;
	record->call_compat = call->compat;
	record->call_socketcall = call->socketcall;
}

/* The call that on_return() has looked at; `plan` is NULL if there is none any more. */
static __always_inline struct call saved_call(struct call_context *ctx, struct record *record)
{
	struct call call = {.regs = registers_of(ctx)};
	if (!record)
		return call;
	call.number = record->call_number;
	call.compat = record->call_compat;
	call.socketcall = record->call_socketcall;
	call.plan = plan_of(call.number);
	return call;
}

/* Finds the file that the call has opened, and what the kernel's hooks have seen of it. */
static __always_inline void look_at_subject(struct record *record, struct call *call, u32 number, s64 result)
{
	record->file = NULL;
	if (call->plan->family == FAMILY_PATHS && call->plan->descriptor == RETURNED && result >= 0)
		record->file = opened_file(OBJECT(bpf_get_current_task()), result);
	record->captured = record->exchanged = 0;
#ifdef HOOKS
	u32 hooks = call->plan->hooks;
	if ((hooks & CAPTURES_FILE) && shares_descriptors(OBJECT(bpf_get_current_task())))
		compare_opened(record, number, result);
	if (hooks & (CAPTURES_NAMES | CAPTURES_SOCKET))
		take_captured(record, hooks, number);
#endif
}

int on_return(struct call_context *ctx)
{
	struct call call = current_call(ctx);
	if (!call.plan)
		return 0;
#ifdef WANT_COUNTS
	u64 *seen = call_counts.lookup(&call.number);
	if (seen)
		*seen += 1;
#endif
	if (call.plan->changes)
		changed_process(bpf_get_current_pid_tgid() >> 32);
	if (!call.plan->family)
		return 0;
	s64 result = result_of(ctx, &call);
	if ((call.plan->flags & PLAN_ONLY_FAILED) && result >= 0)
		return 0;
	u32 zero = 0, pid = bpf_get_current_pid_tgid() >> 32;
	struct settings *now = settings.lookup(&zero);
	if (!now || pid == now->agent)
		return 0;
	struct record *record = take_scratch();
	if (!record) {
		count(LOST_CALLS);
		return 0;
	}
	save_call(record, &call);
	look_at_subject(record, &call, CALL_NUMBER(number_of(ctx)), result);
	/* The index of each program is a constant, so that the kernel jumps to the program directly. */
	switch (next_program(record, &call, result, now, pid)) {
	case FAMILY_WALK_NAME:
		families.call(ctx, FAMILY_WALK_NAME);
		return lost(record);
	case FAMILY_MATCH_NAMES:
		families.call(ctx, FAMILY_MATCH_NAMES);
		return lost(record);
	case FAMILY_CONNECTION:
		families.call(ctx, FAMILY_CONNECTION);
		return lost(record);
	case FAMILY_ADMIT:
		families.call(ctx, FAMILY_ADMIT);
		return lost(record);
	}
	count(FILTERED_CALLS);
	return done(record);
}

#define RETRY_AFTER 10000000 /* ns */

/* Fills in the header of the record. The program of the call's family goes on. */
int begin(struct call_context *ctx)
{
	struct record *record = scratch();
	struct call call = saved_call(ctx, record);
	if (!record)
		return 0;
	if (!call.plan)
		return done(record);
	count(SEEN_CALLS);
	read_task(record, (const char *)bpf_get_current_task());
	u64 *since = undelivered.lookup(&record->header.self.pid);
	if (since && record->header.time - *since > RETRY_AFTER) {
		record->header.flags |= FLAG_AGAIN;
		families.call(ctx, FAMILY_IMAGE); /* which comes back here */
	}
	record->header.type = call.number;
	record->header.flags |= record->flags;
	if (is_exchanged(record) && !gets_slot(record))
		record->header.flags |= FLAG_EXCHANGED;
	record->header.result = (s64)ctx->result;
	if (call.compat) {
		record->header.flags |= FLAG_COMPAT;
		record->header.result = (s32)ctx->result;
	}
	if (is_of_ring(record))
		ring_arguments(record);
	else
		read_arguments(&record->header, &call);
	section_filter(record);
	section_ancestors(record);
#ifdef WANT_CWD
	want_base(record, SECTION_CWD, AT_FDCWD);
#endif
	families.call(ctx, call.plan->family);
	return lost(record);
}

/* The record that begin() has begun, and the plan of its call; NULL if there is none. */
static __always_inline struct record *begun(struct plan **plan)
{
	struct record *record = scratch();
	if (!record)
		return NULL;
	*plan = plan_of(record->header.type);
	if (*plan)
		return record;
	release(record);
	return NULL;
}

static __always_inline u64 argument(struct record *record, s8 index)
{
	u32 i = index & 7;
	return record->header.args[i > 5 ? 5 : i];
}

/* The descriptor that the event is about. */
static __always_inline s32 subject(struct record *record, struct plan *plan)
{
	return plan->descriptor == RETURNED ? (s32)record->header.result : (s32)argument(record, plan->descriptor);
}

static __always_inline void section_path_argument(struct record *record, struct plan *plan, u32 slot)
{
	u64 address = argument(record, plan->path[slot]);
	char first = is_of_ring(record) ? first_of_ring_name(record, slot) : READ_USER(char, address);
	if (is_of_ring(record))
		section_ring_name(record, slot);
	else
		section_user_string(record, slot ? SECTION_PATH_1 : SECTION_PATH_0, address);
	if (first == '/' || (slot == 0 && (plan->flags & PLAN_FREE_TEXT)))
		return;
	want_base(record, slot ? SECTION_BASE_1 : SECTION_BASE_0,
		     plan->base[slot] < 0 ? AT_FDCWD : (s32)argument(record, plan->base[slot]));
}

/* Sends the image of a process, to the ring that the process table is made from. */
static __always_inline void send_image(struct call_context *ctx, struct record *record, u32 size)
{
	u32 pid = record->header.self.pid;
	const char *task = (const char *)bpf_get_current_task();
	if (send_process(task, READ_POINTER(task, TASK_REAL_PARENT), &record->header, size, 0)) {
		undelivered.delete(&pid);
	} else {
		u64 now = bpf_ktime_get_boot_ns();
		undelivered.update(&pid, &now);
	}
	if (record->header.flags & FLAG_AGAIN) /* the record of a call is waiting for this one */
		families.call(ctx, FAMILY_HEADER);
}

/* The last step: writes the paths that were asked for, and sends the record. */
int send(struct call_context *ctx)
{
	struct record *record = scratch();
	if (!record)
		return 0;
	if (!walk_paths(record))
		families.call(ctx, FAMILY_SEND);
	u32 size = finish(record);
	if (record->header.type == RECORD_EXEC) {
		send_image(ctx, record, size);
		return done(record);
	}
	struct ring_state ring = STATE_OF(CALLS_RING);
	if (calls.ringbuf_output(&record->header, size, 0) == 0)
		take_room(record->shares, SHARES_OF_CALLS, &ring, size);
	else
		count_loss(LOST_CALLS, record->rule.rule);
	return done(record);
}

int plain(struct call_context *ctx)
{
	struct plan *plan;
	struct record *record = begun(&plan);
	if (!record)
		return 0;
	families.call(ctx, FAMILY_SEND);
	return lost(record);
}

int paths(struct call_context *ctx)
{
	struct plan *plan;
	struct record *record = begun(&plan);
	if (!record)
		return 0;
	if (plan->path[0] >= 0)
		section_path_argument(record, plan, 0);
	if (plan->path[1] >= 0)
		section_path_argument(record, plan, 1);
#ifdef HOOKS
	want_captured(record, 0);
	want_captured(record, 1);
	section_device(record);
#endif
	if ((plan->flags & PLAN_OPEN_HOW) && is_of_ring(record))
		section_ring_how(record);
	else if (plan->flags & PLAN_OPEN_HOW)
		section_user_bytes(record, SECTION_OPEN_HOW, record->header.args[2], 24, 32);
	if (plan->descriptor == RETURNED)
		section_descriptor(record, record->header.result);
	families.call(ctx, FAMILY_SEND);
	return lost(record);
}

int descriptor(struct call_context *ctx)
{
	struct plan *plan;
	struct record *record = begun(&plan);
	if (!record)
		return 0;
	if (plan->descriptor >= 0)
		section_descriptor(record, subject(record, plan));
	if (is_captured(record))
		section_captured_address(record);
	else if (plan->address >= 0) /* its length is the argument behind it */
		section_user_bytes(record, SECTION_ADDRESS, argument(record, plan->address),
				   (u32)argument(record, plan->address + 1), 129);
	families.call(ctx, FAMILY_SEND);
	return lost(record);
}

/* struct msghdr begins with name, its length, and the vector of buffers. */
static __always_inline void section_msghdr(struct record *record, u64 message, u32 several)
{
	u32 wide = !(record->header.flags & FLAG_COMPAT);
	u64 name = wide ? READ_USER(u64, message) : READ_USER(u32, message);
	u32 length = READ_USER(u32, message + (wide ? 8 : 4));
	section_user_bytes(record, SECTION_ADDRESS, name, length, 129);
#ifdef WANT_DATA
	u64 vector = wide ? READ_USER(u64, message + 16) : READ_USER(u32, message + 8);
	u64 base = wide ? READ_USER(u64, vector) : READ_USER(u32, vector);
	u64 size = wide ? READ_USER(u64, vector + 8) : READ_USER(u32, vector + 4);
	s64 carried = record->header.result;
	if (several && carried > 0) /* the result counts messages */
		carried = READ_USER(u32, message + (wide ? 56 : 28));
	if (carried > 0)
		section_user_bytes(record, SECTION_DATA, base, size < carried ? size : carried, WANT_DATA + 1);
#endif
}

int message(struct call_context *ctx)
{
	struct plan *plan;
	struct record *record = begun(&plan);
	if (!record)
		return 0;
	section_descriptor(record, subject(record, plan));
	if (plan->flags & PLAN_MSGHDR) {
		section_msghdr(record, record->header.args[1], plan->flags & PLAN_MMSGHDR);
	} else {
		section_user_bytes(record, SECTION_ADDRESS, record->header.args[4], 128, 129);
#ifdef WANT_DATA
		if (record->header.result > 0)
			section_user_bytes(record, SECTION_DATA, record->header.args[1], record->header.result, WANT_DATA + 1);
#endif
	}
	families.call(ctx, FAMILY_SEND);
	return lost(record);
}

#define ARGUMENTS 32

#define NOT_ALL 0xffffffff /* as the length: there is more, it isn't known how much */

/* argv of an execve that failed: the caller's strings, joined by NUL. */
static __always_inline void section_argv(struct record *record, u64 argv)
{
	u8 *payload = section_payload(record);
	u32 at = 0;
	u32 width = record->header.flags & FLAG_COMPAT ? 4 : 8;
	if (!payload)
		return;
	record->walk_at = 0;
	record->depth = 0; /* 1: the end was reached */
#pragma clang loop unroll(disable)
	for (int i = 0; i <= ARGUMENTS; i++) {
		u64 pointer = width == 8 ? READ_USER(u64, argv + i * 8) : READ_USER(u32, argv + i * 4);
		at = record->walk_at;
		if (!pointer) {
			record->depth = 1;
			break;
		}
		if (i == ARGUMENTS || at >= PIECE - 1)
			break;
		long length = bpf_probe_read_user_str(payload + (at & (PIECE - 1)), PIECE, (const void *)pointer);
		if (length <= 0)
			break;
		record->walk_at = at + length;
	}
	at = record->walk_at;
	section_end(record, SECTION_ARGS, at > PIECE ? PIECE : at, record->depth && at < PIECE ? at : NOT_ALL);
}

int exec_failed(struct call_context *ctx)
{
	struct plan *plan;
	struct record *record = begun(&plan);
	if (!record)
		return 0;
	section_path_argument(record, plan, 0);
	section_argv(record, argument(record, plan->path[0] + 1));
	families.call(ctx, FAMILY_SEND);
	return lost(record);
}
