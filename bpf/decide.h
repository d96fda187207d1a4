/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_DECIDE_H
#define TIERCEL_DECIDE_H

#include "compiler.h"

/* Which clauses of which rules a call may match: its candidates.
 *
 * Conditions of rules are cut into clauses (filter/clauses.py). A candidate set is a bit set of clauses. There is one for
 * each value, or kind of values, of each signal, that is of each thing that the kernel looks at: the process, the call
 * with its arguments, the name as passed, made absolute and resolved, the connection. A bit is set where the value doesn't
 * rule the clause out; for a value that isn't known all bits are set. The candidates are the clauses that no signal rules
 * out: the intersection of the sets.
 *
 * This file compiles for user space too, where tests run it. */

#define MAX_WORDS 64      /* of a candidate set */
#define MAX_CANDIDATES 4
#define NOTHING_KNOWN 0   /* instead of the index of a candidate set: the plan's set of all clauses is to be taken */

/* Where the candidate set of each signal begins, as the index of a word. Names have two, one by each automaton. */
struct signal_sets {
	u32 process;
	u32 call;
	u32 given; /* the name made absolute */
	u32 given_floating;
	u32 real;  /* the name of the file that was opened */
	u32 real_floating;
	u32 raw;   /* the name as it was passed */
	u32 raw_floating;
	u32 connection;
};

struct candidates {
	u32 count; /* MAX_CANDIDATES + 1: there are more */
	u32 clause[8];
	u32 filled; /* while they are searched: how many words have candidates, and which ones */
	u32 clause_of_word[8];
	u64 word[8];
};

static __always_inline u64 set_word(const u64 *table, u32 index)
{
	index &= CANDIDATE_SET_WORDS - 1;
	barrier_var(index);
	return table[index];
}
#define WORD(index) set_word(table, index)

/* Word i of the candidates. A call that has only one name has it as the given and as the real one. */
static __always_inline u64 candidate_word(const u64 *table, struct signal_sets *sets, u32 i)
{
	u64 given = WORD(sets->given + i) & WORD(sets->given_floating + i);
	u64 real = WORD(sets->real + i) & WORD(sets->real_floating + i);
	u64 raw = WORD(sets->raw + i) & WORD(sets->raw_floating + i);
	return WORD(sets->process + i) & WORD(sets->call + i) & WORD(sets->connection + i) & raw & (given | real);
}

/* The number of the lowest bit that is set. There is no branch in it: each branch doubles the paths that the verifier has
 * to follow. */
static __always_inline u32 lowest_bit(u64 word)
{
	u64 below = (word & -word) - 1;
	/* Else newer compilers look the number up in a table of constants, which bcc can't load. */
	barrier_var(below);
	below = below - ((below >> 1) & 0x5555555555555555);
	below = (below & 0x3333333333333333) + ((below >> 2) & 0x3333333333333333);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (below * 0x0101010101010101) >> 56;
}

/* Whether there is any candidate as far as process and call tell. */
static __always_inline u32 any_candidate_yet(const u64 *table, struct signal_sets *sets, u32 words)
{
	u64 any = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_WORDS; i++) {
		barrier_var(i);
		if (i >= words)
			break;
		any |= WORD(sets->process + i) & WORD(sets->call + i);
	}
	return any != 0;
}

/* Whether there is any candidate. */
static __always_inline u32 any_candidate(const u64 *table, struct signal_sets *sets, u32 words)
{
	u64 any = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_WORDS; i++) {
		barrier_var(i);
		if (i >= words)
			break;
		any |= candidate_word(table, sets, i);
	}
	return any != 0;
}

/* Writes the candidates to `candidates`, as numbers of clauses. `first` is the number of the first clause of the sets,
 * `words` their length. */
static __always_inline void find_candidates(const u64 *table, struct signal_sets *sets, u32 first, u32 words,
					    struct candidates *candidates)
{
	WRITE_ONCE(candidates->count, 0);
	WRITE_ONCE(candidates->filled, 0);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_WORDS; i++) {
		barrier_var(i);
		u32 filled = READ_ONCE(candidates->filled);
		if (i >= words || filled > MAX_CANDIDATES)
			break;
		u64 word = candidate_word(table, sets, i);
		candidates->word[filled & 7] = word;
		candidates->clause_of_word[filled & 7] = first + i * 64;
		WRITE_ONCE(candidates->filled, filled + is_not_zero(word));
	}
	candidates->word[READ_ONCE(candidates->filled) & 7] = 0;
	WRITE_ONCE(candidates->filled, 0);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i <= MAX_CANDIDATES; i++) {
		barrier_var(i);
		u32 at = READ_ONCE(candidates->filled) & 7, count = READ_ONCE(candidates->count) & 7;
		u64 word = candidates->word[at];
		candidates->clause[count] = candidates->clause_of_word[at] + lowest_bit(word);
		WRITE_ONCE(candidates->count, count + is_not_zero(word));
		word &= word - 1;
		candidates->word[at] = word;
		WRITE_ONCE(candidates->filled, at + (is_not_zero(word) ^ 1));
		if (!candidates->word[READ_ONCE(candidates->filled) & 7])
			break;
	}
}

#endif
