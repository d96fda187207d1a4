/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_RING_RECORDS_H
#define TIERCEL_RING_RECORDS_H

#include "path.h"
#include "scratch.h"
#include "sections.h"

/* What the record of a ring's operation has where that of a system call has registers and the caller's memory. */

static __always_inline u32 is_of_ring(struct record *record)
{
#ifdef RINGS
	return record->flags & FLAG_RING;
#else
	return 0;
#endif
}

/* Whether the file gets into a slot of the ring, so that there is no descriptor. */
static __always_inline u32 gets_slot(struct record *record)
{
#ifdef RINGS
	return is_of_ring(record) && record->ring.slot;
#else
	return 0;
#endif
}

static __always_inline void ring_arguments(struct record *record)
{
#ifdef RINGS
	__builtin_memcpy(record->header.args, record->ring.argument, sizeof(record->header.args));
	record->header.result = record->result;
#endif
}

static __always_inline char first_of_ring_name(struct record *record, u32 slot)
{
#ifdef RINGS
	return record->ring.name[slot & 1][0];
#else
	return 0;
#endif
}

static __always_inline void section_ring_name(struct record *record, u32 slot)
{
#ifdef RINGS
	u32 length = record->ring.length[slot & 1];
	if (length)
		section_kernel_string(record, slot ? SECTION_PATH_1 : SECTION_PATH_0, record->ring.name[slot & 1],
				      length == RING_NAME);
#endif
}

static __always_inline void section_ring_how(struct record *record)
{
#ifdef RINGS
	section_kernel_bytes(record, SECTION_OPEN_HOW, record->ring.how, sizeof(record->ring.how));
#endif
}

#ifdef RINGS
/* The arguments as the filter reads those of a system call: in the places of registers. */
static __always_inline const char *ring_registers(struct record *record)
{
#pragma clang loop unroll(full)
	for (u32 i = 0; i < 6; i++)
		*(u64 *)(record->ring_registers + ARGUMENT_OFFSET(i)) = record->ring.argument[i];
	return record->ring_registers;
}

/* Tells the hooks, which run in the same thread, of which call they are to capture. */
static __always_inline void mark_ring_call(struct plan *plan, u32 number)
{
#ifdef HOOKS
	if (plan->hooks & (CAPTURES_FILE | CAPTURES_SOCKET)) {
		struct captured_subject *subject = CAPTURED(SUBJECTS, STORAGE_CREATE);
		if (subject) {
			subject->call = number;
			subject->count = 0;
			subject->ring = 1;
		}
	}
	if (plan->hooks & CAPTURES_NAMES) {
		FORGET(NAMES);
		struct captured_names *names = CAPTURED(NAMES, STORAGE_CREATE);
		if (names) {
			names->call = number;
			names->ring = 1;
		}
	}
#endif
}

/* The operation has not been done here. */
static __always_inline void forget_ring_call(void)
{
#ifdef HOOKS
	struct captured_subject *subject = CAPTURED(SUBJECTS, 0);
	if (subject && subject->ring) {
		subject->call = NO_CALL;
		subject->ring = 0;
	}
	FORGET(NAMES);
#endif
}

/* Finds the file that the operation is about, and what the kernel's hooks have seen of it. */
static __always_inline void look_at_ring_subject(struct record *record, struct plan *plan, const char *request)
{
	s64 result = record->result;
	u32 number = record->call_number;

	record->file = NULL;
	if (plan->descriptor == RETURNED && result >= 0 && !record->ring.slot)
		record->file = opened_file(OBJECT(bpf_get_current_task()), result);
	else if (plan->descriptor >= 0 && plan->descriptor != RETURNED)
		record->file = READ_POINTER(request, KIOCB_FILE);
	record->captured = record->exchanged = 0;
#ifdef HOOKS
	if (plan->hooks & CAPTURES_FILE)
		compare_opened(record, number, result);
	take_captured(record, plan->hooks, number);
#endif
}
#endif

#endif
