/* Which patterns a name matches: two look-ups a byte, however many patterns there are.
 *
 * There are two automata, one for patterns that begin with a literal, one for those that may hold anywhere. User space
 * makes the table (node_agent/tiercel_agent/filter/automaton.py, filter/tables.py): 256 pairs of columns of two bytes each, where
 * the second automaton starts, then the states. A state is where its row begins: the number of the accept set that it
 * stands for, then a next state for each column. Bit 0 of a state tells that nothing that follows changes it. NUL
 * changes none, so that names can be taken eight bytes at a time. This file compiles for user space too: tests run it
 * there. */

#define NAME_SIZE 512
#define AUTOMATON_SECOND 1024
#define AUTOMATON_START 1028
#define SETTLED 1
#define UNCLEAN 0x80000000u /* in the number of an accept set: the name has `..` and the like in it */

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
