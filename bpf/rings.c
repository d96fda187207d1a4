// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Operations of io_uring (rings.h). Where programs can be at functions of the kernel, they are at the beginning and the end
 * of the function that does the operation (`ring_begins`, `ring_ends`), in the thread that does it. Elsewhere they are at
 * the tracepoints of its submission and completion (`ring_begins`, `ring_completes`). The record is made by the same
 * programs as that of a system call. */

#ifdef RINGS

#include "filter.h"
#include "ring_records.h"

struct ring_context {
	const char *argument[3];
};

/* Notes what the request asks for: its names are the kernel's copies, and freed before it ends. */
int ring_begins(struct ring_context *ctx)
{
	const char *request = ctx->argument[0];
	u64 key = (u64)request;
	u32 zero = 0, opcode = READ(u8, request, KIOCB_OPCODE);
	struct ring_operation *operation = ring_operations.lookup(&opcode);
	struct settings *now = settings.lookup(&zero);
	struct ring_call *empty = empty_ring_call.lookup(&zero);
	if (!operation || !operation->number || !now || !empty)
		return 0;
	u32 number = operation->number - 1;
	struct plan *plan = plan_of(number);
	if (!plan || !plan->family || bpf_get_current_pid_tgid() >> 32 == now->agent)
		return 0;
	ring_calls.update(&key, empty);
	struct ring_call *call = ring_calls.lookup(&key);
	if (!call) {
		count(LOST_CALLS);
		return 0;
	}
	call->number = number;
	if (operation->slot)
		bpf_probe_read_kernel(&call->slot, sizeof(call->slot), request + operation->slot - 1);
	if (operation->how)
		bpf_probe_read_kernel(call->how, sizeof(call->how), request + operation->how);
#pragma clang loop unroll(full)
	for (u32 i = 0; i < 6; i++) {
		u32 size = operation->size[i];
		if (size <= sizeof(u64))
			bpf_probe_read_kernel(&call->argument[i], size, request + operation->argument[i]);
	}
#pragma clang loop unroll(full)
	for (u32 i = 0; i < 2; i++) {
		u64 name = 0;
		if (!operation->name[i])
			continue;
		bpf_probe_read_kernel(&name, sizeof(name), request + operation->name[i]);
		long length = bpf_probe_read_kernel_str(call->name[i], RING_NAME, READ_POINTER(name, FILENAME_NAME));
		call->length[i] = length > 0 ? length : 0;
	}
	mark_ring_call(plan, number);
	return 0;
}

/* The operation is done: its record is made. */
static __always_inline int ring_done(void *ctx, const char *request)
{
	u64 key = (u64)request;
	u32 zero = 0;
	struct settings *now = settings.lookup(&zero);
	struct ring_call *begun = ring_calls.lookup(&key);
	if (!begun || !now)
		return 0;
	struct record *record = take_scratch();
	if (!record) {
		count(LOST_CALLS);
		ring_calls.delete(&key);
		return 0;
	}
	struct plan *plan = plan_of(begun->number);
	bpf_probe_read_kernel(&record->ring, sizeof(record->ring), begun);
	ring_calls.delete(&key);
	if (!plan)
		return done(record);
	record->result = READ(s32, request, KIOCB_RES);
	record->call_number = record->ring.number;
	record->call_compat = record->call_socketcall = 0;
	look_at_ring_subject(record, plan, request);
	struct call call = {.regs = ring_registers(record), .plan = plan, .number = record->call_number};
	u32 next = next_program(record, &call, record->result, now, bpf_get_current_pid_tgid() >> 32);
	record->flags |= FLAG_RING;
	switch (next) {
	case 0:
		count(FILTERED_CALLS);
		return done(record);
	case FAMILY_CONNECTION:
		families.call(ctx, FAMILY_CONNECTION);
		return lost(record);
	default: /* names aren't filtered: they aren't in the caller's memory */
		families.call(ctx, FAMILY_ADMIT);
		return lost(record);
	}
}

/* io_openat and so on (request, flags) = result: other results than 0 say that it will be tried again, or has been given
 * to somebody else. */
int ring_ends(struct ring_context *ctx)
{
	if ((s32)(u64)ctx->argument[2]) {
		forget_ring_call();
		return 0;
	}
	return ring_done(ctx, ctx->argument[0]);
}

/* io_uring_complete(ring, request, …) */
int ring_completes(struct ring_context *ctx)
{
	return ring_done(ctx, ctx->argument[1]);
}

#endif
