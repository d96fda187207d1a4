/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_REGISTERS_H
#define TIERCEL_REGISTERS_H

#include "maps.h"
#include "read.h"
#include "scratch.h"

/* The system call that returns: its number, arguments and result, from the registers of each architecture.
 *
 * Programs at the raw tracepoint get the registers. Where the kernel lets other tasks interrupt those, the programs are at
 * the trace event of the same name (kernel/probes/call_event.py), which gives number and result. */

#ifdef CALLS_BY_EVENT
struct call_context { /* events/raw_syscalls/sys_exit/format of tracefs */
	u64 common;
	s64 number;
	s64 result;
};

static __always_inline const char *registers_of(struct call_context *ctx)
{
	return task_registers(current_task_btf());
}

static __always_inline u32 number_of(struct call_context *ctx)
{
	return ctx->number;
}
#else
struct call_context {
	u64 registers; /* struct pt_regs * */
	s64 result;
};

static __always_inline const char *registers_of(struct call_context *ctx)
{
	return (const char *)ctx->registers;
}

static __always_inline u32 number_of(struct call_context *ctx)
{
	return READ(u32, registers_of(ctx), REGS_NUMBER);
}
#endif

/* The number by which the caller makes it. x32 marks its calls with a bit. */
#ifdef X86
#define CALL_NUMBER(number) ((number) & ~0x40000000u)
#else
#define CALL_NUMBER(number) (number)
#endif

/* A call; `plan` is NULL if it isn't to be recorded. */
struct call {
	const char *regs;
	struct plan *plan;
	u32 number; /* by which 64-bit programs make it */
	u32 compat;
	u32 socketcall; /* the operation of a socketcall, 0 for other calls */
};

static __always_inline struct plan *plan_of(u32 number)
{
	return plans.lookup(&number);
}

/* The registers when the call returns. Without direct reads, one copy of all of them costs less than several reads. */
#ifdef DIRECT_READS
#define REGISTER(record, offset) READ_AT(u64, record->regs + (offset))
static __always_inline void save_arguments(struct record *record, struct call *call)
{
	record->regs = call->regs;
}
#else
#define REGISTER(record, offset) (*(u64 *)(record->regs + ((offset) & (REGISTERS - 8))))
static __always_inline void save_arguments(struct record *record, struct call *call)
{
	bpf_probe_read_kernel(record->regs, REGS_SIZE, call->regs);
}
#endif

#ifdef X86
#define TS_COMPAT 2

/* Whether the thread's call is one of a 32-bit program. */
static __always_inline u32 is_compat(const char *regs)
{
	return READ(u32, bpf_get_current_task(), TASK_STATUS) & TS_COMPAT;
}

static __always_inline struct call current_call(struct call_context *ctx)
{
	struct call call = {.number = CALL_NUMBER(number_of(ctx))};
	struct plan *plan = plan_of(call.number);
	if (!plan || !(plan->family | plan->compat | plan->changes))
		return call;
	call.regs = registers_of(ctx);
	call.compat = is_compat(call.regs);
	if (call.compat) {
		call.number = plan->compat;
		if (call.number == SOCKETCALL) {
			call.socketcall = READ(u32, call.regs, REGS_BX) & (SOCKETCALLS - 1);
			plan = plan_of(SOCKETCALL + call.socketcall);
			call.number = plan ? plan->compat : 0;
		}
		plan = call.number ? plan_of(call.number) : NULL;
	}
	call.plan = plan && (plan->family | plan->changes) ? plan : NULL;
	return call;
}

static __always_inline void read_arguments(struct header *header, struct call *call)
{
	const char *regs = call->regs;
	if (call->socketcall) { /* the arguments are in the caller's memory */
		u64 list = READ(u32, regs, REGS_CX);
		u32 count = call->socketcall == SOCKETCALL_SEND || call->socketcall == SOCKETCALL_RECV ? 4 : 6;
		for (u32 i = 0; i < 6; i++)
			header->args[i] = i < count ? READ_USER(u32, list + 4 * i) : 0;
	} else if (call->compat) {
		header->args[0] = READ(u32, regs, REGS_BX);
		header->args[1] = READ(u32, regs, REGS_CX);
		header->args[2] = READ(u32, regs, REGS_DX);
		header->args[3] = READ(u32, regs, REGS_SI);
		header->args[4] = READ(u32, regs, REGS_DI);
		header->args[5] = READ(u32, regs, REGS_BP);
	} else {
		header->args[0] = READ(u64, regs, REGS_DI);
		header->args[1] = READ(u64, regs, REGS_SI);
		header->args[2] = READ(u64, regs, REGS_DX);
		header->args[3] = READ(u64, regs, REGS_R10);
		header->args[4] = READ(u64, regs, REGS_R8);
		header->args[5] = READ(u64, regs, REGS_R9);
	}
}

/* Where the registers of the six arguments are in pt_regs, one byte for each. Looking them up in a number takes no branch,
 * of which the verifier would follow both ways. */
#define ARGUMENT_OFFSETS                                                                       \
	((u64)REGS_DI | (u64)REGS_SI << 8 | (u64)REGS_DX << 16 | (u64)REGS_R10 << 24 |         \
	 (u64)REGS_R8 << 32 | (u64)REGS_R9 << 40)

#define ARGUMENT_OFFSET(index) ((ARGUMENT_OFFSETS >> (((index) & 7) * 8)) & 0xf8)

static __always_inline u64 saved_argument(struct record *record, s8 index)
{
	return REGISTER(record, ARGUMENT_OFFSET(index));
}

static __always_inline s64 result_of(struct call_context *ctx, struct call *call)
{
	return ctx->result;
}
#else /* arm64: x0 is overwritten by the result, the kernel keeps the argument in orig_x0 */
#define PSTATE_32_BIT 0x10 /* the processor runs AArch32 */

/* Whether the thread's call is one of a 32-bit program. */
static __always_inline u32 is_compat(const char *regs)
{
	return READ(u32, regs, REGS_PSTATE) & PSTATE_32_BIT;
}

/* Numbers of arm (EABI) calls whose arguments are in other registers than those of the call that they are recorded as. */
#define ARM_TRUNCATE64 193 /* 64 bits are in an even register and the next one */
#define ARM_FTRUNCATE64 194
#define ARM_SOCKET 281
#define ARM_SEND 289 /* no address */
#define ARM_RECV 291

/* Whether this is a 64-bit execveat (281 too) that has become a 32-bit program: its registers are cleared. A socket(2) of
 * domain 0 would have failed. */
static __always_inline u32 is_new_image(struct call_context *ctx, struct call *call)
{
	return call->number == ARM_SOCKET && (s32)ctx->result >= 0 && READ(u32, call->regs, REGS_ORIG_X0) == 0;
}

static __always_inline struct call current_call(struct call_context *ctx)
{
	struct call call = {.number = number_of(ctx)};
	if (call.number >= SOCKETCALL) /* these plans are of calls that only 32-bit programs make */
		return call;
	struct plan *plan = plan_of(call.number);
	if (!plan || !(plan->family | plan->compat | plan->changes))
		return call;
	call.regs = registers_of(ctx);
	call.compat = is_compat(call.regs);
	if (call.compat) {
		u32 number = is_new_image(ctx, &call) ? 0 : plan->compat;
		plan = number ? plan_of(number) : NULL;
		call.number = number;
	}
	call.plan = plan && (plan->family | plan->changes) ? plan : NULL;
	return call;
}

static __always_inline void read_arguments(struct header *header, struct call *call)
{
	const char *regs = call->regs;
	header->args[0] = READ(u64, regs, REGS_ORIG_X0);
	for (int i = 1; i < 6; i++)
		header->args[i] = READ_AT(u64, regs + REGS_X0 + 8 * i);
	if (!call->compat)
		return;
	for (int i = 0; i < 6; i++)
		header->args[i] &= 0xffffffff;
	u32 number = READ(u32, regs, REGS_NUMBER);
	if (number == ARM_TRUNCATE64 || number == ARM_FTRUNCATE64)
		header->args[1] = header->args[2] | header->args[3] << 32;
	else if (number == ARM_SEND || number == ARM_RECV)
		header->args[4] = header->args[5] = 0;
}

#define ARGUMENT_OFFSET(index) ((index) ? REGS_X0 + 8 * ((index) & 7) : REGS_ORIG_X0)

static __always_inline u64 saved_argument(struct record *record, s8 index)
{
	return REGISTER(record, ARGUMENT_OFFSET(index));
}

/* Kernels before 5.14 leave the upper half of a 32-bit program's result 0, even if the result is negative. */
static __always_inline s64 result_of(struct call_context *ctx, struct call *call)
{
	return call->compat ? (s64)(s32)ctx->result : (s64)ctx->result;
}
#endif

#endif
