/* The names of a file that a call opens: as passed, as passed but made absolute (given), and as the kernel resolved it
 * (real); and what the automata say of them.
 *
 * The same files are opened again and again, so what came out is kept, with a transcript of all that was read from
 * kernel objects on the way: addresses and values. The text of a path is made of nothing else than what was passed,
 * where the walks begin and end, and these values. So when all of that is the same again, the names are, whatever was
 * renamed, mounted or freed meanwhile; nobody has to tell of changes.
 *
 * A look takes several programs, since verifiers of older kernels follow each way through a loop by itself: `names`,
 * which is done if the names are known; else `walk_name`, once for a relative name's folder and once for the file, and
 * `match_names`. */

#define NAME_GIVEN 0
#define NAME_REAL 1
#define NAME_PASSED 2

/* Reads a number of a kernel object, and notes it in the transcript. */
#define READ_NOTED(known, pointer, offset)                                                     \
	({                                                                                     \
		u64 read_ = READ(u64, pointer, offset);                                        \
		note(known, (u64)(pointer) + (offset), read_);                                 \
		read_;                                                                         \
	})

static __always_inline void note(struct known_names *known, u64 address, u64 value)
{
	u32 at = known->lines;
	struct transcript_line *line = &known->transcript[at & (TRANSCRIPT_LINES - 1)];

	line->address = address;
	line->value = value;
	known->lines = at + 1; /* more than there is room for: names_are_known() is never asked */
}

/* Whether the kernel's objects still say what they said. */
static __always_inline u32 is_still_true(struct known_names *known)
{
	u64 differs = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < TRANSCRIPT_LINES; i++) {
		FORGET(i);
		if (i >= ANEW(known->lines))
			break;
		struct transcript_line *line = &known->transcript[i];
		differs |= READ_AT(u64, line->address) ^ line->value;
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

/* Ends a name at `length` with as many NULs as a word takes. */
static __always_inline void end_name(struct name *name, u32 length)
{
	FORGET(length);
	*(u64 *)(name->text + (length & (NAME_SIZE - 1))) = 0;
	name->length = length;
}

/* Copies a component of a path behind `target`, with some bytes after its end, which the next one overwrites. Of a
 * short one the text is noted. */
static __always_inline void copy_component(struct known_names *known, u8 *target, const char *name, u32 length)
{
	if (length > 31) {
		FORGET(length);
		bpf_probe_read_kernel(target, length & 255, name);
		known->lines = TRANSCRIPT_LINES + 1;
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
	note(known, (u64)name, words[0]);
	note(known, (u64)name + 8, words[1]);
	note(known, (u64)name + 16, words[2]);
	note(known, (u64)name + 24, words[3]);
	known->lines = lines + 1 + (length >> 3); /* as many as have something of the text, or its end */
}

/* The text of the path at record->walk_from, from the process's root. Its length; 0 if it can't be had: too long, too
 * deep, outside of the root, or no place in the tree. */
static __always_inline u32 name_of_path(struct record *record, struct name *name)
{
	struct known_names *known = known_names(record);
	const char *root_mount = known->key.root.mount, *root_dentry = known->key.root.dentry;
	const char *mount = record->walk_from.mount, *dentry = record->walk_from.dentry;
	const char *mount_root = (const char *)READ_NOTED(known, mount, MOUNT_MNT + VFSMOUNT_ROOT);
	u32 arrived = 0;

	record->depth = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 2 * COMPONENTS; i++) {
		FORGET(i);
		if (dentry == root_dentry && mount == root_mount) {
			arrived = 1;
			break;
		}
		if (dentry == mount_root) {
			const char *parent = (const char *)READ_NOTED(known, mount, MOUNT_PARENT);
			if (parent == mount)
				break;
			dentry = (const char *)READ_NOTED(known, mount, MOUNT_MOUNTPOINT);
			mount = parent;
			mount_root = (const char *)READ_NOTED(known, mount, MOUNT_MNT + VFSMOUNT_ROOT);
			continue;
		}
		const char *parent = (const char *)READ_NOTED(known, dentry, DENTRY_PARENT);
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
		FORGET(i);
		u32 depth = record->depth, at = name->length;
		if (!depth)
			break;
		depth--;
		record->depth = depth;
		dentry = record->components[depth & (COMPONENTS - 1)];
		/* the hash of the name, and its length */
		u32 length = READ_NOTED(known, dentry, DENTRY_NAME_LENGTH - 4) >> 32;
		const char *text = (const char *)READ_NOTED(known, dentry, DENTRY_NAME);
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
		FORGET(at);
		if (at >= ANEW(one->length))
			break;
		if (*(u64 *)(one->text + at) != *(u64 *)(other->text + at))
			return 0;
	}
	return 1;
}

/* Whether what is known is of the same walks, and of the same text that was passed. */
static __always_inline u32 same_key(struct known_names *known, struct names_key *key, struct name *passed)
{
	u64 differs = known->length ^ passed->length;
	const u64 *one = (const u64 *)&known->key, *other = (const u64 *)key;

	for (u32 i = 0; i < sizeof(*key) / 8; i++)
		differs |= one[i] ^ other[i];
	if (differs)
		return 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < KNOWN_TEXT / 8; i++) {
		FORGET(i);
		if (i * 8 >= ANEW(passed->length))
			break;
		differs |= known->text[i] ^ ((u64 *)passed->text)[i];
	}
	return !differs;
}
