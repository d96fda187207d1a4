// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The filter's look at names of which nothing is known yet: their paths are written, then matched. */

#include "names.h"

/* Appends the name that was passed to the folder that it starts from. Returns 0 if the result is too long. */
static __always_inline u32 join_name(struct record *record, struct name *name, u32 at)
{
	struct name *passed = name_of(record, NAME_PASSED);
	u32 length = passed->length;

	if (at == 1) /* the root itself */
		at = 0;
	if (length > 255)
		return 0;
	barrier_var(at);
	at &= NAME_SIZE - 1;
	name->text[at] = '/';
	barrier_var(length);
	bpf_probe_read_kernel(name->text + at + 1, length & 255, passed->text);
	length = at + 1 + passed->length;
	end_name(name, length);
	return length < NAME_SIZE;
}

/* Writes the name record->walk_to. */
int walk_name(struct call_context *ctx)
{
	struct record *record = scratch();
	if (!record)
		return 0;
	struct name *name = name_of(record, record->walk_to);
	u32 length = name_of_path(record, name);
	if (!length || (record->walk_to == NAME_GIVEN && !join_name(record, name, length))) {
		families.call(ctx, FAMILY_ADMIT);
		return lost(record);
	}
	if (record->walk_to == NAME_GIVEN && record->file) {
		record->walk_to = NAME_REAL;
		record->walk_from = record->names_key.file;
		families.call(ctx, FAMILY_WALK_NAME);
		return lost(record);
	}
	families.call(ctx, FAMILY_MATCH_NAMES);
	return lost(record);
}

/* Cleans the name that was passed, made absolute, and writes it to NAME_GIVEN. */
int clean_name(struct call_context *ctx)
{
	struct record *record = scratch();
	if (!record)
		return 0;
	struct name *given = name_of(record, NAME_GIVEN);
	if (!plan_of(record->call_number))
		return done(record);
	u32 relative = is_not_zero((u64)record->names_key.base.dentry);
	struct name *from = name_of(record, either(relative, NAME_GIVEN, NAME_PASSED));
	u32 length = clean_text(&record->cleaning, from->text, given->text, READ_ONCE(from->length));

	end_name(given, length);
	record->cleaned = 1;
	families.call(ctx, FAMILY_MATCH_NAMES);
	return lost(record);
}

/* Runs the automata over the names, and decides about the call. */
int match_names(struct call_context *ctx)
{
	u32 zero = 0;
	struct record *record = scratch();
	const u8 *patterns = (const u8 *)automaton.lookup(&zero);
	struct plan *plan = record ? plan_of(record->call_number) : NULL;
	if (!record)
		return 0;
	if (!plan || !patterns)
		return done(record);
	struct known_names *known = known_names(record);
	struct name *passed = name_of(record, NAME_PASSED), *real = name_of(record, NAME_REAL);
	u32 differs = record->cleaned || record->names_key.base.dentry != NULL;
	struct name *given = name_of(record, differs ? NAME_GIVEN : NAME_PASSED);

	known->given = accepts_of(patterns, given->text, READ_ONCE(given->length));
	if (known->given.unclean && !record->cleaned) {
		families.call(ctx, FAMILY_CLEAN_NAME);
		return lost(record);
	}
	known->real = known->passed = known->given;
	if (record->file && !same_name(given, real))
		known->real = accepts_of(patterns, real->text, READ_ONCE(real->length));
	if (differs)
		known->passed = accepts_of(patterns, passed->text, READ_ONCE(passed->length));
	if (passed->length < KNOWN_TEXT - 1 && end_transcript(known))
		known->length = passed->length;
	if (judge_names(record, plan, known)) {
		families.call(ctx, FAMILY_ADMIT);
		return lost(record);
	}
	count(FILTERED_CALLS);
	return done(record);
}
