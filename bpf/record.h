/* Building a record: the header, then one section after the other, in a scratch space of this CPU. Programs stay on their
 * CPU. Kernels before 6.13 don't preempt them, so that one space a CPU is enough; on newer ones another task's programs may
 * run in the midst of ours, and each takes one of SLOTS spaces. It is not a per-CPU map, since those are limited to 32 KiB. */

#define CAPACITY 32768 /* of the sections together; a power of two, so that offsets can be masked */
#define PIECE 4096     /* of one section */

#define REGISTERS 512  /* bytes, a power of two: struct pt_regs is smaller */
#define COMPONENTS 32  /* of a name that the filter looks at */
#define NAME_SLACK 272 /* what is copied behind a name's end before that is noticed */

struct name {
	u8 text[NAME_SIZE + NAME_SLACK];
	u32 length;
};

/* A place in the tree of files. */
struct place {
	const char *mount; /* struct mount */
	const char *dentry;
};

/* Names that were looked at lately, and what came out (names.h). */
#define KNOWN_NAMES 32
#define KNOWN_TEXT 64 /* bytes, with an end: longer ones are looked at each time */
#define TRANSCRIPT_LINES 60
#define TRANSCRIPT_ROOM 64

struct names_key {
	struct place root; /* of the process */
	struct place base; /* the folder that a relative name starts from */
	struct place file; /* what was opened; empty if nothing was */
};

/* What was passed, if it is short enough to be kept: NULs behind its end. */
struct passed_text {
	u64 words[KNOWN_TEXT / 8];
};

struct transcript_line {
	u64 address;
	u64 value;
};

struct known_names {
	struct names_key key;
	struct passed_text text;
	u32 length; /* of that; 0: nothing is known */
	u32 lines;  /* of the transcript; more than TRANSCRIPT_LINES: it isn't whole */
	struct accepts given;
	struct accepts real;
	struct accepts passed;
	u32 call;    /* the last call that no rule could match, and its rows: the same again stays in the kernel */
	u32 process;
	u32 kind;
	u32 padding;
	struct transcript_line transcript[TRANSCRIPT_ROOM];
};

/* A kind of call that was looked at lately: its row, and what came out together with the row of a process. */
#define MEMOS 64

struct call_memo {
	struct call_key key;
	u32 valid;
	u32 row;
	u32 process;  /* 0: nothing came out yet */
	u32 possible; /* whether some rule is */
};

/* What the filter reads and writes at each call stands first: where an offset is larger than 32767, each access takes
 * more instructions. */
struct record {
	u32 taken; /* by how many: it belongs to the one who finds that it is one */
	u32 owner; /* the thread */
	struct filter_facts filter;
	struct looks looks;
	u32 filtered;    /* the filter has looked at the call */
	u32 call_number; /* the call that on_return() found worth a look */
	u32 call_compat;
	u32 call_socketcall;
	u32 call_slot;
	u32 known_slot;
	u32 walk_to;     /* the name that a walk writes */
	const char *file; /* that the call has opened */
	struct names_key names_key;
	struct place walk_from;
	struct share_key share;
	struct survivors survivors;
	struct connection_key connection;
#ifdef DIRECT_READS
	const char *regs;
#else
	char regs[REGISTERS] __attribute__((aligned(8)));
#endif
	struct call_memo call_memos[MEMOS];
	struct header header; /* what is sent begins here */
	u8 sections[CAPACITY + 2 * PIECE + 64];
	u32 length; /* of the sections so far */
	struct name names[4]; /* NAME_… */
	struct known_names known_names[KNOWN_NAMES];
	const char *components[COMPONENTS];
	u32 depth;
	u32 walk_at;
	u8 walk[PIECE + 256];
	u32 rounds;  /* of walking */
	u32 walked;  /* paths that are written */
	u32 pending; /* paths that were asked for */
	struct {
		const char *mount;  /* struct mount */
		const char *dentry;
		u64 kind;
	} path[4];
};

#ifndef SLOTS
#define SLOTS 1
#endif
BPF_ARRAY(records, struct record, CPUS * SLOTS);

#if SLOTS == 1
static __always_inline struct record *scratch(void)
{
	u32 cpu = bpf_get_smp_processor_id();
	return records.lookup(&cpu);
}
#define take_scratch scratch
static __always_inline void release(struct record *record)
{
}
#else
static __always_inline struct record *slot(u32 number)
{
	u32 index = bpf_get_smp_processor_id() * SLOTS + number;
	return records.lookup(&index);
}

/* The space that this thread has taken. */
static __always_inline struct record *scratch(void)
{
	u32 thread = bpf_get_current_pid_tgid();
#pragma clang loop unroll(full)
	for (u32 i = 0; i < SLOTS; i++) {
		struct record *record = slot(i);
		if (record && record->owner == thread)
			return record;
	}
	return NULL;
}

/* Takes a space; NULL if all are taken. Whoever comes while another has it finds more than one, and steps back. */
static __always_inline struct record *take_scratch(void)
{
	u32 thread = bpf_get_current_pid_tgid();
#pragma clang loop unroll(full)
	for (u32 i = 0; i < SLOTS; i++) {
		struct record *record = slot(i);
		if (!record)
			return NULL;
		__sync_fetch_and_add(&record->taken, 1);
		if (READ_ONCE(record->taken) == 1) {
			record->owner = thread;
			return record;
		}
		__sync_fetch_and_add(&record->taken, -1);
	}
	return NULL;
}

static __always_inline void release(struct record *record)
{
	WRITE_ONCE(record->owner, 0);
	__sync_fetch_and_add(&record->taken, -1);
}
#endif

/* Every way out of the programs that have a record gives it back. */
static __always_inline int done(struct record *record)
{
	release(record);
	return 0;
}

/* What stands behind a tail call is reached if there is no such program: then the event is lost. */
static __always_inline int lost(struct record *record)
{
	count(LOST_CALLS);
	return done(record);
}

/* Where the payload of the next section goes: PIECE bytes that may be written. NULL if the record is full. */
static __always_inline u8 *section_payload(struct record *record)
{
	u32 at = record->length;
	if (at > CAPACITY - PIECE - 8) {
		record->header.flags |= FLAG_TRUNCATED;
		return NULL;
	}
	return record->sections + ((at + 8) & (CAPACITY - 1));
}

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

/* The first `limit` (at most PIECE) bytes of a user buffer of `length` bytes. */
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

/* Writes the record's length; returns it. */
static __always_inline u32 finish(struct record *record)
{
	u32 length = sizeof(struct header) + record->length;
	length &= 2 * CAPACITY - 1;
	if (length > sizeof(struct header) + CAPACITY)
		length = sizeof(struct header) + CAPACITY;
	record->header.length = length;
	return length;
}
