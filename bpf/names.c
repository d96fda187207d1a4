/* The look at the names of a call that opens a file. */

#include "names.h"

/* Judges the call by its names, and lets it go on if some rule is possible. */
static __always_inline int judge_names(struct bpf_raw_tracepoint_args *ctx, struct record *record, struct plan *plan,
				       struct known_names *known)
{
	u32 zero = 0, words = ANEW(plan->words);
	const u64 *table = rows.lookup(&zero);
	struct name_rows *names = &record->name_rows;

	if (!table)
		return 0;
	names->given = names->given_floating = names->real = names->real_floating = plan->everything;
	names->raw = names->raw_floating = plan->everything;
	if (plan->raw_names) {
		names->raw = plan->raw_names + known->passed.begun * words;
		names->raw_floating = plan->raw_floating + known->passed.floating * words;
	}
	if (!known->given.unclean) {
		names->given = plan->names + known->given.begun * words;
		names->given_floating = plan->floating + known->given.floating * words;
		names->real = plan->names + known->real.begun * words;
		names->real_floating = plan->floating + known->real.floating * words;
		if (known->given.begun && known->given.floating && known->real.begun && known->real.floating)
			record->filter.known |= KNOWN_NAME;
	}
	if (any_after_names(table, names, ANEW(plan->words), record->possible))
		families.call(ctx, FAMILY_ADMIT);
	else
		count(FILTERED_CALLS);
	return 0;
}

static __always_inline struct place place_of(const char *path)
{
	const char *object = OBJECT(path);
	struct place place = {.mount = MEMBER_POINTER(object, PATH_MNT) - MOUNT_MNT,
			      .dentry = MEMBER_POINTER(object, PATH_DENTRY)};
	return place;
}

/* The folder that the passed name starts from: none for an absolute one. 0 if it can't be had. */
static __always_inline u32 find_base(struct record *record, struct plan *plan, const char *fs)
{
	struct names_key *key = &record->names_key;
	const char *from = fs + FS_PWD;

	key->base.mount = key->base.dentry = NULL;
	if (name_of(record, NAME_PASSED)->text[0] == '/')
		return 1;
	s32 descriptor = plan->base[0] < 0 ? AT_FDCWD : (s32)saved_argument(record, plan->base[0]);
	if (descriptor != AT_FDCWD) {
		const char *file = file_of(descriptor);
		if (!file)
			return 0;
		from = file + FILE_PATH;
	}
	key->base = place_of(from);
	return 1;
}

int names(struct bpf_raw_tracepoint_args *ctx)
{
	struct record *record = scratch();
	struct plan *plan = record ? plan_of(record->call_number) : NULL;
	if (!plan)
		return 0;
	struct name *passed = name_of(record, NAME_PASSED);
	struct names_key *key = &record->names_key;
	const char *fs = READ_POINTER((const char *)bpf_get_current_task(), TASK_FS);
	const char *file = record->file;
	long length =
		bpf_probe_read_user_str(passed->text, NAME_SIZE, (const void *)saved_argument(record, plan->path[0]));

	if (length <= 1 || length >= NAME_SIZE || !find_base(record, plan, fs)) {
		families.call(ctx, FAMILY_ADMIT);
		return 0;
	}
	end_name(passed, length - 1);
	key->root = place_of(fs + FS_ROOT);
	key->file.mount = key->file.dentry = NULL;
	if (file)
		key->file = place_of(file + FILE_PATH);
	u64 hash = (u64)key->file.dentry ^ passed->length ^ *(u64 *)(passed->text + ((length - 1) & (KNOWN_TEXT - 8)));
	record->known_slot = (hash * 0x9e3779b97f4a7c15) >> 40;
	struct known_names *known = known_names(record);
	if (same_key(known, key, passed) && is_still_true(known))
		return judge_names(ctx, record, plan, known);
	known->length = 0; /* void until all of it is there */
	known->lines = 0;
	known->key = *key;
	record->walk_to = key->base.dentry ? NAME_GIVEN : NAME_REAL;
	record->walk_from = key->base.dentry ? key->base : key->file;
	families.call(ctx, key->base.dentry || file ? FAMILY_WALK_NAME : FAMILY_MATCH_NAMES);
	return 0;
}

/* Puts what was passed behind the folder that it starts from. */
static __always_inline u32 join_name(struct record *record, struct name *name, u32 at)
{
	struct name *passed = name_of(record, NAME_PASSED);
	u32 length = passed->length;

	if (at == 1) /* the root itself */
		at = 0;
	if (length > 255)
		return 0;
	FORGET(at);
	at &= NAME_SIZE - 1;
	name->text[at] = '/';
	FORGET(length);
	bpf_probe_read_kernel(name->text + at + 1, length & 255, passed->text);
	length = at + 1 + passed->length;
	end_name(name, length);
	return length < NAME_SIZE;
}

int walk_name(struct bpf_raw_tracepoint_args *ctx)
{
	struct record *record = scratch();
	if (!record)
		return 0;
	struct name *name = name_of(record, record->walk_to);
	u32 length = name_of_path(record, name);
	if (!length || (record->walk_to == NAME_GIVEN && !join_name(record, name, length))) {
		families.call(ctx, FAMILY_ADMIT);
		return 0;
	}
	if (record->walk_to == NAME_GIVEN && record->file) {
		record->walk_to = NAME_REAL;
		record->walk_from = record->names_key.file;
		families.call(ctx, FAMILY_WALK_NAME);
	}
	families.call(ctx, FAMILY_MATCH_NAMES);
	return 0;
}

int match_names(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct record *record = scratch();
	const u8 *table = (const u8 *)automaton.lookup(&zero);
	struct plan *plan = record ? plan_of(record->call_number) : NULL;
	if (!plan || !table)
		return 0;
	struct known_names *known = known_names(record);
	struct name *passed = name_of(record, NAME_PASSED), *real = name_of(record, NAME_REAL);
	u32 relative = record->names_key.base.dentry != NULL;
	struct name *given = name_of(record, relative ? NAME_GIVEN : NAME_PASSED);

	known->given = accepts_of(table, given->text, ANEW(given->length));
	known->real = known->passed = known->given;
	if (record->file && !same_name(given, real))
		known->real = accepts_of(table, real->text, ANEW(real->length));
	if (relative)
		known->passed = accepts_of(table, passed->text, ANEW(passed->length));
	if (known->lines <= TRANSCRIPT_LINES && passed->length <= KNOWN_TEXT) {
		__builtin_memcpy(known->text, passed->text, KNOWN_TEXT);
		known->length = passed->length;
	}
	return judge_names(ctx, record, plan, known);
}
