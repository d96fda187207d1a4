/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_AUTOMATON_H
#define TIERCEL_AUTOMATON_H

#include "compiler.h"

/* Which patterns a name matches: two look-ups for each byte, however many patterns there are.
 *
 * There are two automata, one for patterns that begin with a literal, the other ("floating") for those that may match
 * anywhere in a name. User space makes the table (filter/automaton.py, filter/tables.py): 256 pairs of columns of two
 * bytes each, then the offset where the second automaton starts, then the states. A state is the offset of its row: the
 * number of the accept set that it stands for, then one next state for each column. Bit 0 of a state tells that nothing
 * that follows changes the accept set. NUL never changes a state, so names can be read eight bytes at a time.
 *
 * This file compiles for user space too, where tests run it. */

#define NAME_SIZE 512 /* bytes, with the NUL at the end */
#define AUTOMATON_SECOND 1024
#define AUTOMATON_START 1028
#define SETTLED 1
#define UNCLEAN 0x80000000u /* in the number of an accept set: the name has `..` or the like in it */

/* The numbers of the accept sets that a name leads to. */
struct accepts {
	u32 begun;
	u32 floating;
	u32 unclean;
};

static __always_inline u32 table_word(const u8 *table, u32 at)
{
	return *(const u32 *)(table + (at & (AUTOMATON_SIZE - 4)));
}

static __always_inline struct accepts accepts_of(const u8 *table, const u8 *name, u32 length)
{
	u32 begun = AUTOMATON_START, floating = table_word(table, AUTOMATON_SECOND);
	for (u32 at = 0; at < NAME_SIZE; at += 8) {
		if (at >= length)
			break;
		u64 word = *(const u64 *)(name + at);
		for (u32 i = 0; i < 8; i++) {
			u32 columns = *(const u32 *)(table + (word & 255) * 4);
			begun = table_word(table, begun + (columns & 0xffff));
			floating = table_word(table, floating + (columns >> 16));
			word >>= 8;
		}
		if (begun & floating & SETTLED)
			break;
	}
	floating = table_word(table, floating);
	struct accepts accepts = {
		.begun = table_word(table, begun),
		.floating = floating & ~UNCLEAN,
		.unclean = floating & UNCLEAN,
	};
	return accepts;
}

#endif
