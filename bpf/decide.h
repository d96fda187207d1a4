/* Which rules are possible for a call.
 *
 * A row is a bit set of clauses, the parts that rules' conditions are cut into (filter/clauses.py). There is one for
 * each value, or kind of values, of what the kernel looks at: the process, the call with its arguments, the name as
 * passed, as resolved and as written, the connection. A bit is set where this alone doesn't rule the clause out. So what
 * no row rules out is possible, and what is not known is a row of ones. This file compiles for user space too: tests run
 * it there. */

#define MAX_WORDS 64
#define MAX_SURVIVORS 4
#define NOTHING_KNOWN 0 /* as a row that is looked up: there is none, the plan's row of ones counts */

struct looks {
	u32 process;    /* words of rows where the plan's part of them begins */
	u32 call;
	u32 given;      /* of each name two: by the one automaton, and the other */
	u32 given_floating;
	u32 real;
	u32 real_floating;
	u32 raw;
	u32 raw_floating;
	u32 connection;
};

struct survivors {
	u32 count;      /* MAX_SURVIVORS + 1: more than can be told */
	u32 clause[8];
	u32 filled;     /* while they are found: the words that have some, and how many */
	u32 clause_of_word[8];
	u64 word[8];
};

static __always_inline u64 row_word(const u64 *rows, u32 index)
{
	index &= CANDIDATE_SET_WORDS - 1;
	barrier_var(index);
	return rows[index];
}
#define ROW(index) row_word(rows, index)

/* Word i of what is possible. If there is only one name, it is the given and the real one. */
static __always_inline u64 possible_word(const u64 *rows, struct looks *looks, u32 i)
{
	u64 given = ROW(looks->given + i) & ROW(looks->given_floating + i);
	u64 real = ROW(looks->real + i) & ROW(looks->real_floating + i);
	u64 raw = ROW(looks->raw + i) & ROW(looks->raw_floating + i);
	return ROW(looks->process + i) & ROW(looks->call + i) & ROW(looks->connection + i) & raw & (given | real);
}

/* Without branches: each would double the ways that the verifier has to follow. */
static __always_inline u32 lowest_bit(u64 word)
{
	u64 below = (word & -word) - 1;
	barrier_var(below); /* else newer compilers look up the number of zeros in a table, which bcc can't hand to the kernel */
	below = below - ((below >> 1) & 0x5555555555555555);
	below = (below & 0x3333333333333333) + ((below >> 2) & 0x3333333333333333);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (below * 0x0101010101010101) >> 56;
}

static __always_inline u32 is_set(u64 word)
{
	return (word | -word) >> 63;
}

/* Whether any clause is possible as far as process and call tell. */
static __always_inline u32 any_possible_yet(const u64 *rows, struct looks *looks, u32 words)
{
	u64 any = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_WORDS; i++) {
		barrier_var(i);
		if (i >= words)
			break;
		any |= ROW(looks->process + i) & ROW(looks->call + i);
	}
	return any != 0;
}

/* Whether any clause is possible. */
static __always_inline u32 any_possible(const u64 *rows, struct looks *looks, u32 words)
{
	u64 any = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_WORDS; i++) {
		barrier_var(i);
		if (i >= words)
			break;
		any |= possible_word(rows, looks, i);
	}
	return any != 0;
}

/* Notes the clauses that are possible, of so many words from the clause `first` on. */
static __always_inline void find_survivors(const u64 *rows, struct looks *looks, u32 first, u32 words,
					   struct survivors *survivors)
{
	WRITE_ONCE(survivors->count, 0);
	WRITE_ONCE(survivors->filled, 0);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_WORDS; i++) {
		barrier_var(i);
		u32 filled = READ_ONCE(survivors->filled);
		if (i >= words || filled > MAX_SURVIVORS)
			break;
		u64 word = possible_word(rows, looks, i);
		survivors->word[filled & 7] = word;
		survivors->clause_of_word[filled & 7] = first + i * 64;
		WRITE_ONCE(survivors->filled, filled + is_set(word));
	}
	survivors->word[READ_ONCE(survivors->filled) & 7] = 0;
	WRITE_ONCE(survivors->filled, 0);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i <= MAX_SURVIVORS; i++) {
		barrier_var(i);
		u32 at = READ_ONCE(survivors->filled) & 7, count = READ_ONCE(survivors->count) & 7;
		u64 word = survivors->word[at];
		survivors->clause[count] = survivors->clause_of_word[at] + lowest_bit(word);
		WRITE_ONCE(survivors->count, count + is_set(word));
		word &= word - 1;
		survivors->word[at] = word;
		WRITE_ONCE(survivors->filled, at + (is_set(word) ^ 1));
		if (!survivors->word[READ_ONCE(survivors->filled) & 7])
			break;
	}
}
