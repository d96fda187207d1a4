/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_NAMES_H
#define TIERCEL_NAMES_H

#include "automaton.h"
#include "decide.h"
#include "path.h"
#include "read.h"
#include "registers.h"
#include "scratch.h"

/* The names of a file that a call opens: as passed, as passed but made absolute (given), and as the kernel has resolved it
 * (real); and which candidates the automata leave for them.
 *
 * The same files are opened again and again. So the result is kept, together with a transcript of every number that was
 * read from kernel objects on the way: its address and its value. The text of a path depends on nothing but the name that
 * was passed, where the walks begin and end, and these values. If all of them are the same again, so are the names, even
 * if something was renamed, mounted or freed meanwhile. Nothing has to report such changes.
 *
 * Names that aren't known take programs of their own (names.c), because verifiers of older kernels follow every path
 * through a loop by itself: `walk_name`, once for the folder of a relative name and once for the file, and
 * `match_names`. */

#define NAME_GIVEN 0
#define NAME_REAL 1
#define NAME_PASSED 2

/* Reads a number from a kernel object, and writes it into the transcript. */
#define READ_TRACED(known, pointer, offset)                                                     \
	({                                                                                     \
		u64 read_ = READ(u64, pointer, offset);                                        \
		trace(known, (u64)(pointer) + (offset), read_);                                 \
		read_;                                                                         \
	})

static __always_inline void trace(struct known_names *known, u64 address, u64 value)
{
	u32 at = known->lines;
	struct transcript_line *line = &known->transcript[at & (TRANSCRIPT_ROOM - 1)];

	line->address = address;
	line->value = value;
	known->lines = at + 1;
}

/* Ends the transcript; returns 0 if it isn't complete. Lines are compared four at a time: the first line fills up the last
 * four. */
static __always_inline u32 end_transcript(struct known_names *known)
{
	u32 lines = known->lines;

	if (lines > TRANSCRIPT_LINES)
		return 0;
	struct transcript_line first = known->transcript[0];
	known->transcript[lines & (TRANSCRIPT_ROOM - 1)] = first;
	known->transcript[(lines + 1) & (TRANSCRIPT_ROOM - 1)] = first;
	known->transcript[(lines + 2) & (TRANSCRIPT_ROOM - 1)] = first;
	return 1;
}

#define DIFFERENCE(line) (READ_AT(u64, (line).address) ^ (line).value)

/* Whether the kernel's objects still have the values of the transcript. */
static __always_inline u32 is_still_true(struct known_names *known)
{
	u64 differs = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < TRANSCRIPT_ROOM; i += 4) {
		barrier_var(i);
		if (i >= READ_ONCE(known->lines))
			break;
		struct transcript_line *line = &known->transcript[i];
		differs |= DIFFERENCE(line[0]) | DIFFERENCE(line[1]) | DIFFERENCE(line[2]) | DIFFERENCE(line[3]);
	}
	return !differs;
}

static __always_inline struct known_names *known_names(struct record *record)
{
	return &record->known_names[record->known_slot & (KNOWN_NAMES - 1)];
}

static __always_inline struct name *name_of(struct record *record, u32 which)
{
	return &record->names[which & 3];
}

/* Ends a name at `length` with a word of NULs. */
static __always_inline void end_name(struct name *name, u32 length)
{
	barrier_var(length);
	*(u64 *)(name->text + (length & (NAME_SIZE - 1))) = 0;
	name->length = length;
}

/* Copies a component of a path to `target`, with some bytes after its end, which the next component overwrites. The text of
 * a short component goes into the transcript. A longer one makes the transcript incomplete, so that the name is looked at
 * each time. */
static __always_inline void copy_component(struct known_names *known, u8 *target, const char *name, u32 length)
{
	if (length > 31) {
		barrier_var(length);
		bpf_probe_read_kernel(target, length & 255, name);
		known->lines = TRANSCRIPT_LINES + 1; /* not complete */
		return;
	}
#ifdef DIRECT_READS
	const char *text = OBJECT(name);
	u64 words[4] = {MEMBER(u64, text, 0), MEMBER(u64, text, 8), MEMBER(u64, text, 16), MEMBER(u64, text, 24)};
#else
	u64 words[4];
	bpf_probe_read_kernel(words, sizeof(words), name);
#endif
	u32 lines = known->lines;
	__builtin_memcpy(target, words, sizeof(words));
	trace(known, (u64)name, words[0]);
	trace(known, (u64)name + 8, words[1]);
	trace(known, (u64)name + 16, words[2]);
	trace(known, (u64)name + 24, words[3]);
	known->lines = lines + 1 + (length >> 3); /* those that have a part of the text, or its end */
}

/* Writes the path of record->walk_from, from the process's root, to `name`. Returns its length; 0 if the path is too long,
 * too deep, outside of the root, or has no place in the tree. */
static __always_inline u32 name_of_path(struct record *record, struct name *name)
{
	struct known_names *known = known_names(record);
	const char *root_mount = known->key.root.mount, *root_dentry = known->key.root.dentry;
	const char *mount = record->walk_from.mount, *dentry = record->walk_from.dentry;
	const char *mount_root = (const char *)READ_TRACED(known, mount, MOUNT_MNT + VFSMOUNT_ROOT);
	u32 arrived = 0;

	record->depth = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 2 * COMPONENTS; i++) {
		barrier_var(i);
		if (dentry == root_dentry && mount == root_mount) {
			arrived = 1;
			break;
		}
		if (dentry == mount_root) {
			const char *parent = (const char *)READ_TRACED(known, mount, MOUNT_PARENT);
			if (parent == mount)
				break;
			dentry = (const char *)READ_TRACED(known, mount, MOUNT_MOUNTPOINT);
			mount = parent;
			mount_root = (const char *)READ_TRACED(known, mount, MOUNT_MNT + VFSMOUNT_ROOT);
			continue;
		}
		const char *parent = (const char *)READ_TRACED(known, dentry, DENTRY_PARENT);
		u32 depth = record->depth;
		if (parent == dentry || depth >= COMPONENTS)
			break;
		record->components[depth & (COMPONENTS - 1)] = dentry;
		record->depth = depth + 1;
		dentry = parent;
	}
	if (!arrived)
		return 0;
	name->text[0] = '/';
	name->length = record->depth == 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < COMPONENTS; i++) {
		barrier_var(i);
		u32 depth = record->depth, at = name->length;
		if (!depth)
			break;
		depth--;
		record->depth = depth;
		dentry = record->components[depth & (COMPONENTS - 1)];
		/* the hash of the name and its length, in one word */
		u32 length = READ_TRACED(known, dentry, DENTRY_NAME_LENGTH - 4) >> 32;
		/* Not in the transcript: names whose text is in it are so short that the kernel keeps them in the dentry. */
		const char *text = READ_POINTER(dentry, DENTRY_NAME);
		if (at + length + 2 > NAME_SIZE || length > 255)
			return 0;
		at &= NAME_SIZE - 1;
		name->text[at] = '/';
		copy_component(known, name->text + at + 1, text, length);
		name->length = at + 1 + length;
	}
	u32 length = name->length;
	end_name(name, length);
	return length < NAME_SIZE ? length : 0;
}

static __always_inline u32 same_name(struct name *one, struct name *other)
{
	if (one->length != other->length)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 at = 0; at < NAME_SIZE; at += 8) {
		barrier_var(at);
		if (at >= READ_ONCE(one->length))
			break;
		if (*(u64 *)(one->text + at) != *(u64 *)(other->text + at))
			return 0;
	}
	return 1;
}

/* Whether `known` has the result for the same walks and the same text. Without branches and loops. */
static __always_inline u32 same_key(struct known_names *known, struct names_key *key, struct passed_text *text,
				    u32 length)
{
	u64 differs = known->length ^ length;
	const u64 *one = (const u64 *)&known->key, *other = (const u64 *)key;

#pragma clang loop unroll(full)
	for (u32 i = 0; i < sizeof(*key) / 8; i++)
		differs |= one[i] ^ other[i];
#pragma clang loop unroll(full)
	for (u32 i = 0; i < KNOWN_TEXT / 8; i++)
		differs |= known->text.words[i] ^ text->words[i];
	return !differs;
}

static __always_inline u32 slot_of(struct names_key *key, struct passed_text *text)
{
	u64 mixed = (u64)key->file.dentry;

#pragma clang loop unroll(full)
	for (u32 i = 0; i < KNOWN_TEXT / 8; i++)
		mixed ^= text->words[i];
	return (mixed * 0x9e3779b97f4a7c15) >> 40;
}

static __always_inline struct place place_of(const char *path)
{
	const char *object = OBJECT(path);
	struct place place = {.mount = MEMBER_POINTER(object, PATH_MNT) - MOUNT_MNT,
			      .dentry = MEMBER_POINTER(object, PATH_DENTRY)};
	return place;
}

/* Finds the folder that the passed name starts from; an absolute name has none. Returns 0 if the folder isn't known. */
static __always_inline u32 find_base(struct record *record, struct plan *plan, const char *fs, u32 absolute)
{
	struct names_key *key = &record->names_key;
	const char *from = fs + FS_PWD;

	key->base.mount = key->base.dentry = NULL;
	if (absolute)
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

/* Decides about the call by its names: FAMILY_ADMIT if it has candidates, else 0. */
static __always_inline u32 judge_names(struct record *record, struct plan *plan, struct known_names *known)
{
	u32 zero = 0, words = READ_ONCE(plan->words);
	struct signal_sets *sets = &record->sets;
	const u64 *table = candidate_sets.lookup(&zero);

	if (!table)
		return FAMILY_ADMIT;
	if (plan->raw_names) {
		sets->raw = plan->raw_names + known->passed.begun * words;
		sets->raw_floating = plan->raw_floating + known->passed.floating * words;
	}
	sets->given = plan->names + known->given.begun * words;
	sets->given_floating = plan->floating + known->given.floating * words;
	sets->real = plan->names + known->real.begun * words;
	sets->real_floating = plan->floating + known->real.floating * words;
	if (known->given.begun && known->given.floating && known->real.begun && known->real.floating)
		record->filter.known |= KNOWN_NAME;
	if (any_candidate(table, sets, READ_ONCE(plan->words)))
		return FAMILY_ADMIT;
	/* Candidate sets never change: the same sets have the same result. */
	known->call = record->call_number;
	known->process_set = sets->process;
	known->call_set = sets->call;
	return 0;
}

/* Looks up what is known of the names of a call. Returns the program that goes on; 0: the call stays in the kernel. */
static __always_inline u32 look_for_names(struct record *record, struct plan *plan, const char *task)
{
	struct passed_text text = {};
	struct names_key *key = &record->names_key;
	const char *fs = MEMBER_POINTER(task, TASK_FS);
	const void *address = (const void *)saved_argument(record, plan->path[0]);
	/* Onto the stack: the kernel checks where it copies to, and the stack takes the least time to check. */
	long length = bpf_probe_read_user_str(&text, sizeof(text), address);

	if (length <= 1 || !find_base(record, plan, fs, (text.words[0] & 0xff) == '/'))
		return FAMILY_ADMIT;
	length--;
	key->root = place_of(fs + FS_ROOT);
	record->known_slot = slot_of(key, &text);
	struct known_names *known = known_names(record);
	if (same_key(known, key, &text, length) && is_still_true(known)) {
		if (known->call == record->call_number && known->process_set == record->sets.process &&
		    known->call_set == record->sets.call)
			return 0;
		return judge_names(record, plan, known);
	}
	known->length = 0; /* nothing is known until all of it is there */
	known->lines = 0;
	known->call = 0;
	known->key = *key;
	known->text = text;
	struct name *passed = name_of(record, NAME_PASSED);
	if (length == KNOWN_TEXT - 1) { /* that or more: such a name isn't kept */
		length = bpf_probe_read_user_str(passed->text, NAME_SIZE, address);
		if (length <= 1 || length >= NAME_SIZE)
			return FAMILY_ADMIT;
		length--;
	} else {
		__builtin_memcpy(passed->text, &text, sizeof(text));
	}
	end_name(passed, length);
	record->cleaned = 0;
	record->walk_to = key->base.dentry ? NAME_GIVEN : NAME_REAL;
	record->walk_from = key->base.dentry ? key->base : key->file;
	return key->base.dentry || key->file.dentry ? FAMILY_WALK_NAME : FAMILY_MATCH_NAMES;
}

#endif
