/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_CLEAN_H
#define TIERCEL_CLEAN_H

#include "automaton.h"
#include "compiler.h"

/* Cleaning a name by its text alone: `.`, doubled slashes and a slash at the end go, `..` takes the component before it
 * along. It gives what user space gives a rule as the name (clean() of context/paths.py). Where a component before `..` is a
 * link, that isn't the file's name. Nothing depends on that: a file that was opened has its second name, which the kernel
 * has resolved, and which is matched too.
 *
 * This file compiles for user space too, where tests run it. */

#define IS_NOT_ZERO(value) is_not_zero((u64)(value))
#define IS_ZERO(value) (IS_NOT_ZERO(value) ^ 1)

/* Where a name is, while it is cleaned. It is kept in memory, where the verifier looks at no bounds. */
struct cleaning {
	u32 at;    /* where the next byte goes */
	u32 start; /* of the component that it belongs to: its slash */
	u32 length; /* of the name as it was */
	u32 depth;  /* how many components there are before it, */
	u16 starts[NAME_SIZE / 2]; /* and where they start */
};

/* Writes the name of `source`, which begins with a slash and ends with a NUL at `length`, to `target`, which may be the same.
 * Returns the new length. There is no branch in the loop but its end: each branch would double the verifier's paths. */
static __always_inline u32 clean_text(struct cleaning *cleaning, const u8 *source, u8 *target, u32 length)
{
	WRITE_ONCE(cleaning->at, 1);
	WRITE_ONCE(cleaning->start, 0);
	WRITE_ONCE(cleaning->depth, 0);
	WRITE_ONCE(cleaning->length, length);
	target[0] = '/';
#pragma clang loop unroll(disable)
	for (u32 i = 1; i < NAME_SIZE; i++) {
		barrier_var(i);
		if (i > READ_ONCE(cleaning->length))
			break;
		u32 at = READ_ONCE(cleaning->at), start = READ_ONCE(cleaning->start), depth = READ_ONCE(cleaning->depth);
		u32 byte = source[i & (NAME_SIZE - 1)];
		u32 ends = IS_ZERO(byte) | IS_ZERO(byte ^ '/'), written = at - start - 1;
		u32 dot = IS_ZERO(target[(start + 1) & (NAME_SIZE - 1)] ^ '.');
		u32 dots = dot & IS_ZERO(target[(start + 2) & (NAME_SIZE - 1)] ^ '.');
		u32 leaves = dots & IS_ZERO(written ^ 2) & ends & IS_NOT_ZERO(depth);
		u32 stays = ends & (IS_ZERO(written) | (dot & IS_ZERO(written ^ 1)) | (dots & IS_ZERO(written ^ 2)));
		u32 enters = ends & (stays ^ 1);
		u32 above = cleaning->starts[(depth - 1) & (NAME_SIZE / 2 - 1)];

		target[at & (NAME_SIZE - 1)] = byte;
		cleaning->starts[depth & (NAME_SIZE / 2 - 1)] = start;
		start = either(enters, at, start);
		start = either(leaves, above, start);
		WRITE_ONCE(cleaning->start, start);
		WRITE_ONCE(cleaning->depth, depth + enters - leaves);
		WRITE_ONCE(cleaning->at, either(ends, start, at) + 1);
	}
	u32 end = READ_ONCE(cleaning->start);
	return end + IS_ZERO(end); /* the root is its slash */
}

#endif
