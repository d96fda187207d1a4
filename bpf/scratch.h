/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_SCRATCH_H
#define TIERCEL_SCRATCH_H

#include "automaton.h"
#include "capture.h"
#include "clean.h"
#include "compiler.h"
#include "counters.h"
#include "decide.h"
#include "maps.h"
#include "rings.h"

/* The scratch space of an event: what the programs of a chain hand to each other, and the record that they build.
 *
 * Programs stay on their CPU. Kernels before 6.13 don't preempt them, so that one space for each CPU is enough. On newer
 * kernels the programs of another task may run in the midst of ours, so that there are SLOTS spaces for each CPU, and each
 * event takes one. This is not a per-CPU map, because those are limited to 32 KiB. */

#define CAPACITY 32768 /* bytes of all sections together; a power of two, so that offsets can be masked */
#define PIECE 4096     /* bytes of one section; a power of two */
_Static_assert((CAPACITY & (CAPACITY - 1)) == 0 && (PIECE & (PIECE - 1)) == 0, "offsets are masked");

#define REGISTERS 512  /* bytes; a power of two that is larger than struct pt_regs */
#ifdef REGS_SIZE
_Static_assert(REGS_SIZE <= REGISTERS, "all registers fit");
#endif
#ifdef HOOKS
#define MOST_PATHS 8 /* of a record; a power of two */
#else
#define MOST_PATHS 4
#endif
#define COMPONENTS 32  /* of a name that the filter looks at */
#define NAME_SLACK 272 /* bytes that may be written behind the end of a name before that is noticed */

struct name {
	u8 text[NAME_SIZE + NAME_SLACK];
	u32 length;
};

/* A place in the tree of files. */
struct place {
	const char *mount; /* struct mount */
	const char *dentry;
};

/* Names that were looked at lately, and the result (names.h). */
#define KNOWN_NAMES 32
#define KNOWN_TEXT 64 /* bytes, with the NUL at the end; longer names are looked at each time */
#define TRANSCRIPT_LINES 60
#define TRANSCRIPT_ROOM 64

struct names_key {
	struct place root; /* of the process */
	struct place base; /* the folder that a relative name starts from */
	struct place file; /* what was opened; empty if nothing was */
};

/* The name that was passed, if it is short enough to be kept; NULs follow it. */
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
	u32 length; /* of the text; 0: nothing is known */
	u32 lines;  /* of the transcript; more than TRANSCRIPT_LINES: it isn't complete */
	struct accepts given;
	struct accepts real;
	struct accepts passed;
	/* The last call by these names that had no candidates, and its sets: the same again stays in the kernel. */
	u32 call;
	u32 process_set;
	u32 call_set;
	u32 padding;
	struct transcript_line transcript[TRANSCRIPT_ROOM];
};
_Static_assert(sizeof(struct names_key) % 8 == 0, "names.h compares keys by words");

/* A kind of call that was looked at lately: its candidate set, and the result for one process. */
#define MEMOS 64

struct call_memo {
	struct call_key key;
	u32 valid;
	u32 set;
	u32 process_set; /* 0: there is no result yet */
	u32 possible;    /* whether there are candidates for that process */
};

/* What the filter reads and writes at each call comes first: with an offset above 32767 each access takes more
 * instructions. */
struct record {
	u32 taken; /* how many events hold the space or try to take it: it belongs to the one that finds 1 */
	u32 owner; /* the thread */
	struct filter_facts filter;
	struct signal_sets sets;
	u32 filtered;    /* the filter has looked at the call */
	u32 flags;       /* FLAG_NAMESPACES, or none */
	u32 call_number; /* the call that on_return() has found worth a look */
	u32 call_compat;
	u32 call_socketcall;
	u32 call_slot;    /* of call_memos */
	u32 known_slot;   /* of known_names */
	u32 walk_to;      /* the name that walk_name() writes, NAME_… */
	u32 captured;     /* CAPTURES_…: what the kernel's hooks have captured of the call */
	u32 exchanged;    /* another file is behind the descriptor now */
	const char *file; /* that the call is about, at the first look; NULL: there is none, or nobody has looked */
	struct names_key names_key;
	u32 cleaned;      /* NAME_GIVEN is cleaned */
	struct place walk_from;
	struct rule_key rule; /* the rule and the cgroup that the record counts for */
	u64 shares[6];        /* the keys of its shares of the ring (shares.h) */
	struct candidates candidates;
	struct connection_key connection;
#ifdef DIRECT_READS
	const char *regs;
#else
	char regs[REGISTERS] __attribute__((aligned(8)));
#endif
	struct call_memo call_memos[MEMOS];
	struct header header; /* what is sent begins here */
	u8 sections[CAPACITY + 2 * PIECE + 64];
	const char *lineage; /* the first thread of the last ancestor that was read; NULL: there are no more */
	u32 length; /* of the sections so far */
	struct name names[4]; /* NAME_… */
	struct known_names known_names[KNOWN_NAMES];
	const char *components[COMPONENTS];
	struct cleaning cleaning;
	u32 depth;
	u32 walk_at;
	u8 walk[PIECE + 256];
	u32 rounds;  /* of walking */
	u32 walked;  /* paths that have been written */
	u32 pending; /* paths that were asked for */
	struct {
		const char *mount; /* struct mount */
		const char *dentry;
		u64 kind; /* SECTION_… */
	} path[MOST_PATHS];
#ifdef RINGS
	struct ring_call ring;          /* the operation that stands for the call (FLAG_RING) */
	s64 result;                     /* of it */
	char ring_registers[REGISTERS] __attribute__((aligned(8)));
#endif
#ifdef HOOKS
	struct captured_file seen; /* the file that was opened, if `exchanged` */
	struct captured_names names_seen;
	struct captured_socket socket_seen;
#endif
};
_Static_assert(__builtin_offsetof(struct record, sections) ==
	       __builtin_offsetof(struct record, header) + sizeof(struct header), "header and sections are sent as one");

#ifndef SLOTS
#define SLOTS 1
#endif
BPF_ARRAY(scratch_spaces, struct record, CPUS * SLOTS);

/* scratch() is the space that this event has taken, take_scratch() takes one: NULL if all are taken. release() gives it
 * back. */
#if SLOTS == 1
static __always_inline struct record *scratch(void)
{
	u32 cpu = bpf_get_smp_processor_id();
	return scratch_spaces.lookup(&cpu);
}
#define take_scratch scratch
static __always_inline void release(struct record *record)
{
}
#else
static __always_inline struct record *slot(u32 number)
{
	u32 index = bpf_get_smp_processor_id() * SLOTS + number;
	return scratch_spaces.lookup(&index);
}

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

/* An event that comes while another one holds a space finds `taken` above 1, and tries the next space. */
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

/* The end of a program that has a scratch space: every way out gives the space back. */
static __always_inline int done(struct record *record)
{
	release(record);
	return 0;
}

/* The end of a program whose tail call has failed: the program isn't there, and the event is lost. */
static __always_inline int lost(struct record *record)
{
	count(LOST_CALLS);
	return done(record);
}

#endif
