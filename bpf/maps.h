/* What a system call carries beyond its header; index: the system call's number. Filled by user space
 * for the calls that a loaded rule can match; family 0 means nobody asks. `compat` belongs to the call that 32-bit
 * programs make by the index (i386, arm), so that one look-up tells for both whether to go on. */
struct plan {
	u8 family;     /* FAMILY_… */
	u8 flags;      /* PLAN_… */
	s8 path[2];    /* indexes of arguments, -1: none */
	s8 base[2];    /* descriptors that relative paths start from */
	s8 descriptor; /* the descriptor that the event is about; RETURNED: the result */
	s8 address;    /* socket address */
	s8 keyed[3];   /* arguments that the filter tells calls apart by */
	u8 changes;    /* 1: the call changes what the process's class depends on */
	u16 compat;    /* native number of the 32-bit call of this index, 0: nobody asks; SOCKETCALL: see there */
	u16 first;     /* word of a process's row where the clauses of this call begin */
	u16 words;     /* of clauses; 0: the call isn't filtered */
	u16 padding;
	u32 everything; /* the row of ones */
	u32 names;     /* rows by the number of a name's accept set; 0: nobody asks for names */
	u32 floating;  /* the same by the other automaton */
	u32 raw_names; /* and for a name as it was written; 0: nobody asks */
	u32 raw_floating;
};

#define FAMILY_PLAIN 1      /* header only */
#define FAMILY_PATHS 2      /* one or two path arguments */
#define FAMILY_DESCRIPTOR 3 /* a file or socket by descriptor */
#define FAMILY_MESSAGE 4    /* data on a socket */
#define FAMILY_EXEC 5       /* execve that failed */
#define FAMILY_IMAGE 6      /* the steps around a family: a process's image again, */
#define FAMILY_HEADER 7     /* the header, */
#define FAMILY_SEND 8       /* paths and sending, */
#define FAMILY_ADMIT 9      /* and whether there is room for it */
#define FAMILY_WALK_NAME 10 /* the filter's looks before: at a path whose name isn't known, */
#define FAMILY_MATCH_NAMES 11 /* at names, */
#define FAMILY_CONNECTION 12 /* and at the ends of a connection */
#define FAMILIES 13

#define RETURNED 100      /* as `descriptor` */
#define PLAN_OPEN_HOW 1   /* argument 2 points to an open_how */
#define PLAN_MSGHDR 2     /* argument 1 points to a msghdr, which holds address and data */
#define PLAN_FREE_TEXT 4  /* the first path argument is a text: the target of a symbolic link */
#define PLAN_ONLY_FAILED 8 /* success is reported elsewhere: exec */
#define PLAN_MMSGHDR 16   /* that msghdr is the first of several, each followed by the length of its data */
#define PLAN_SUBJECT_PATH 32 /* the filter looks at the path passed and the file opened */
#define PLAN_SUBJECT_END 64  /* the filter looks at the ends of the connection */

/* The calls, then what i386's socketcall can be told to do (linux/net.h): only the `compat` of those counts. On arm64,
 * which has no socketcall, the calls stand there that 32-bit programs alone can make. */
#define SOCKETCALL 512
#define SOCKETCALLS 32
#define SOCKETCALL_SEND 9 /* these two are sendto and recvfrom without an address */
#define SOCKETCALL_RECV 10
BPF_ARRAY(plans, struct plan, SOCKETCALL + SOCKETCALLS);
BPF_PROG_ARRAY(families, FAMILIES);

/* Rings of their own, so that a flood of calls, or of cgroups, can't push out what the process table is made from. */
BPF_RINGBUF_OUTPUT(calls, CALLS_PAGES);
BPF_RINGBUF_OUTPUT(processes, PROCESSES_PAGES);
BPF_RINGBUF_OUTPUT(cgroups, CGROUPS_PAGES);

/* Processes whose exec record found the ring full; their next event carries it again. */
BPF_TABLE("lru_hash", u32, u64, undelivered, 4096); /* pid -> when it was last tried, ns since boot */
#define RETRY_AFTER 10000000 /* ns */

struct ended {
	u64 start;
	u64 pid;
};
BPF_TABLE("lru_hash", struct ended, u8, ended, 1024);

/* Indexes of `counters`. */
#define LOST_CALLS 0
#define LOST_PROCESSES 1
#define SEEN_CALLS 2
#define FILTERED_CALLS 3
BPF_PERCPU_ARRAY(counters, u64, 8);
BPF_PERCPU_ARRAY(call_counts, u64, SOCKETCALL); /* filled with WANT_COUNTS */

static __always_inline void count(u32 which)
{
	u64 *counter = counters.lookup(&which);
	if (counter)
		*counter += 1;
}
