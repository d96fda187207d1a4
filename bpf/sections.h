/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_SECTIONS_H
#define TIERCEL_SECTIONS_H

#include "scratch.h"

/* Appending sections to a record. */

/* Where the payload of the next section goes: PIECE bytes that may be written. NULL if the record is full. */
static __always_inline u8 *section_payload(struct record *record)
{
	/* Read anew each time: where it was found too large before, 5.10's verifier would go on with it as if it weren't. */
	u32 at = *(volatile u32 *)&record->length;
	if (at > CAPACITY - PIECE - 8) {
		record->header.flags |= FLAG_TRUNCATED;
		return NULL;
	}
	return record->sections + ((at + 8) & (CAPACITY - 1));
}

/* Ends a section whose payload has been written. */
static __always_inline void section_end(struct record *record, u16 kind, u32 length, u32 number)
{
	u32 at = record->length & (CAPACITY - 1);
	struct section *section = (struct section *)(record->sections + at);
	length &= 2 * PIECE - 1;
	section->kind = kind;
	section->length = length;
	section->number = number;
	record->length = at + 8 + ((length + 7) & ~7u);
}

static __always_inline void section_user_string(struct record *record, u16 kind, u64 address)
{
	u8 *payload = section_payload(record);
	if (!payload || !address)
		return;
	long length = bpf_probe_read_user_str(payload, PIECE, (const void *)address);
	if (length > 0)
		section_end(record, kind, length - 1, length == PIECE);
}

static __always_inline void section_kernel_string(struct record *record, u16 kind, const void *address, u32 number)
{
	u8 *payload = section_payload(record);
	if (!payload || !address)
		return;
	long length = bpf_probe_read_kernel_str(payload, PIECE, address);
	if (length > 0)
		section_end(record, kind, length - 1, number);
}

/* At most 128 bytes that are the kernel's own. */
static __always_inline void section_kernel_bytes(struct record *record, u16 kind, const void *address, u32 length)
{
	u8 *payload = section_payload(record);
	length &= 255;
	if (!payload || length > 128)
		return;
	if (bpf_probe_read_kernel(payload, length, address) == 0)
		section_end(record, kind, length, 0);
}

/* The first bytes, fewer than `limit`, which is at most PIECE, of a user buffer of `length` bytes. */
static __always_inline void section_user_bytes(struct record *record, u16 kind, u64 address, u64 length, u32 limit)
{
	u8 *payload = section_payload(record);
	if (!payload || !address || !length)
		return;
	u32 size = length > limit - 1 ? limit - 1 : length;
	size &= PIECE - 1;
	if (bpf_probe_read_user(payload, size, (const void *)address) == 0)
		section_end(record, kind, size, length > size);
}

/* Writes the record's length into its header, and returns it. */
static __always_inline u32 finish(struct record *record)
{
	u32 length = sizeof(struct header) + record->length;
	length &= 2 * CAPACITY - 1;
	if (length > sizeof(struct header) + CAPACITY)
		length = sizeof(struct header) + CAPACITY;
	record->header.length = length;
	return length;
}

#endif
