/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_MAPS_H
#define TIERCEL_MAPS_H

#include "records.h"

/* The maps that user space reads or writes, with the layouts of their keys and values. Python packs the same layouts
 * (events/syscalls/, filter/, detection/watch.py), and tests/agent/kernel/test_layouts.py compares both. */

/* What is to be recorded of a system call; the index is its number. User space fills in the calls that a loaded rule can
 * match; a call whose family is 0 is not recorded. `compat` belongs to the call that 32-bit programs (i386, arm) make by
 * this index, so that one look-up answers for both. */
struct plan {
	u8 family;     /* FAMILY_… */
	u8 flags;      /* PLAN_… */
	s8 path[2];    /* indexes of the arguments that are paths, -1: none */
	s8 base[2];    /* indexes of the descriptors that relative paths start from, -1: the working directory */
	s8 descriptor; /* index of the descriptor that the event is about, or RETURNED; -1: none */
	s8 address;    /* index of the socket address, or of what bpf() is passed; -1: none */
	s8 keyed[3];   /* indexes of the arguments in the filter's call_key, -1: none */
	u8 changes;    /* 1: the call changes something that conditions on the process depend on */
	u16 compat;    /* native number of the 32-bit call of this index, 0: not recorded; for SOCKETCALL see there */
	u16 hooks;     /* CAPTURES_…: what the kernel's hooks capture of the call (capture.h) */
	u16 first;     /* the word of a process's candidate set where the clauses of this call begin */
	u16 words;     /* length of this call's candidate sets in words; 0: the call isn't filtered */
	u32 all_clauses; /* the candidate set of all clauses */
	/* Where the candidate sets of names begin, ordered by the number of the accept set; 0: no rule asks for them. */
	u32 names;        /* by the automaton of patterns that begin with a literal */
	u32 floating;     /* by the other one (automaton.h) */
	u32 raw_names;    /* the same two for names as they were passed */
	u32 raw_floating;
};

/* Programs by their index in `families`. The first five complete the record of a call, a plan chooses among them. */
#define FAMILY_PLAIN 1      /* nothing but the header */
#define FAMILY_PATHS 2      /* one or two path arguments */
#define FAMILY_DESCRIPTOR 3 /* a file or a socket, by its descriptor, and what a pointer leads to */
#define FAMILY_MESSAGE 4    /* data on a socket */
#define FAMILY_EXEC 5       /* an execve that failed */
/* The others are steps before and after them (README.md). */
#define FAMILY_IMAGE 6       /* the process's image: of an exec, or sent a second time */
#define FAMILY_HEADER 7      /* the header */
#define FAMILY_SEND 8        /* paths, and sending the record */
#define FAMILY_ADMIT 9       /* the rate limit */
#define FAMILY_WALK_NAME 10  /* the filter: a path whose name isn't known */
#define FAMILY_MATCH_NAMES 11 /* the filter: names */
#define FAMILY_CONNECTION 12 /* the filter: the ends of a connection */
#define FAMILY_CLEAN_NAME 13 /* the filter: a name with `..` or the like in it */
#define FAMILIES 14

#define RETURNED 100         /* as `descriptor`: the call returns it */
#define PLAN_OPEN_HOW 1      /* argument 2 points to an open_how */
#define PLAN_MSGHDR 2        /* argument 1 points to a msghdr, which holds address and data */
#define PLAN_FREE_TEXT 4     /* the first path argument is a text: the target of a symbolic link */
#define PLAN_ONLY_FAILED 8   /* its success is recorded elsewhere: exec */
#define PLAN_MMSGHDR 16      /* that msghdr is the first of several, each followed by the length of its data */
#define PLAN_SUBJECT_PATH 32 /* the filter looks at the path that was passed and the file that was opened */
#define PLAN_SUBJECT_END 64  /* the filter looks at the ends of the connection */
#define PLAN_SENDS 128       /* datagrams go to the address that is passed, even if the socket is connected to another */

#define CAPTURES_FILE 1 /* the file that it opens */
#define CAPTURES_NAMES 2 /* the places in the tree that it changes */
#define CAPTURES_SOCKET 4 /* the socket, and the address that is passed */

/* Behind the plans of all calls come those of the operations of i386's socketcall (linux/net.h), of which only `compat`
 * counts. arm64 has no socketcall: the same places are for the calls that only 32-bit programs can make there. */
#define SOCKETCALL 512
#define SOCKETCALLS 32
#define PLANS (SOCKETCALL + 64)
#define SOCKETCALL_SEND 9 /* these two are sendto and recvfrom without an address */
#define SOCKETCALL_RECV 10
BPF_ARRAY(plans, struct plan, PLANS);
BPF_PROG_ARRAY(families, FAMILIES);

/* How the request of an operation (struct io_kiocb) becomes the arguments of the call. */
struct ring_operation {
	u16 number; /* of the call, plus 1; 0: the operation isn't reported */
	u16 how;    /* where its struct open_how is; 0: it has none */
	u16 slot;   /* where the number of a slot is, plus 1, that gets the file instead of a descriptor; 0: it has none */
	u16 name[2];     /* where pointers to its struct filename are; 0: there is none */
	u16 argument[6]; /* where the arguments are, */
	u8 size[6];      /* and their sizes in bytes; 0: it has no such argument */
};
#define RING_OPERATIONS 128
BPF_ARRAY(ring_operations, struct ring_operation, RING_OPERATIONS);

/* Three rings: a flood of calls or of cgroups must not displace the records that the process table is made from. */
BPF_RINGBUF_OUTPUT(calls, CALLS_PAGES);
BPF_RINGBUF_OUTPUT(processes, PROCESSES_PAGES);
BPF_RINGBUF_OUTPUT(cgroups, CGROUPS_PAGES);

/* Processes whose exec record didn't fit into the ring, or whose image user space asks for, with 0 as the time. It is
 * sent before the process's next record. */
BPF_TABLE("lru_hash", u32, u64, undelivered, 4096); /* pid -> time of the last attempt, ns since boot */

/* Processes whose end has been recorded. */
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
BPF_PERCPU_ARRAY(call_counts, u64, SOCKETCALL); /* how often each call was made; filled with WANT_COUNTS */

struct settings {
	u32 flood_limit; /* matches a second of one rule in one cgroup */
	u32 agent;       /* the process that isn't watched: the agent itself */
	u64 lineage;     /* when ancestors of some process last may have changed, ns since boot; written by the kernel side */
};
BPF_ARRAY(settings, struct settings, 1);

/* The filter. One value each, of a size that the loader chooses: CANDIDATE_SET_WORDS words, AUTOMATON_SIZE bytes. */
BPF_ARRAY(candidate_sets, u64, 1);
BPF_ARRAY(automaton, u64, 1);

/* What user space has learned. Values are indexes of words in `candidate_sets`. A key that isn't there rules no clause
 * out: the filter may pass on too many calls, but never too few. */
BPF_TABLE("lru_hash", struct call_key, u32, call_sets, 8192);

struct connection_key {
	u16 call;
	u16 family;
	u16 type;
	u16 protocol;
	u16 remote_port; /* in network order */
	u16 local_port;  /* in host order */
	u32 role;        /* ROLE_… */
	u8 local[16];
	u8 remote[16];
	u8 passed[24]; /* the socket address that was passed, where it counts */
};
BPF_TABLE("lru_hash", struct connection_key, u32, connection_sets, 8192);

/* What is known of a process, in the slot of its pid; processes of the same slot displace each other. User space writes
 * an entry in steps, so that half an entry is never taken for a whole one. A time in `changed` that is later than `as_of`
 * makes it void; a new process of that pid counts as a change too. */
struct process_class {
	u64 start; /* ns since boot */
	u64 cred;  /* credentials and cgroup can differ between the threads of a process */
	u64 cgroup;
	u64 as_of; /* ns since boot */
	u32 set;   /* by all conditions on processes; void once ancestors of any process have changed */
	u32 own_set; /* by those conditions that don't ask for ancestors */
	u32 confirmed;
	u32 pid;
};
#define PROCESS_SLOTS 32768
BPF_ARRAY(process_classes, struct process_class, PROCESS_SLOTS);
BPF_ARRAY(changed, u64, PROCESS_SLOTS); /* when something of a process of the slot last changed, ns since boot */

/* The rate limit (rate_limit.h). An entry of `clause_rules` has the number of the clause's rule, and how it is decided. */
#define RULE 0xffffff         /* the bits with the number, which begins at 1 */
#define UNCLASSIFIED 0xffffff /* as the number: too little is known of the call to tell which rule it may match */
#define EXACT 0x80000000      /* the signals decide the clause, */
#define NEEDS(entry) ((entry) >> 24 & 0xf) /* if these are known (KNOWN_…) */
#define OF_SYSTEM 0x10000000  /* the clause is of the system's rules; these come first */
BPF_ARRAY(clause_rules, u32, 1024);

struct rule_key {
	u64 cgroup; /* 0: of all cgroups that found no room in the map */
	u32 rule;
	u32 padding;
};

struct rule_counter {
	u64 passed;     /* calls that went to user space */
	u64 suppressed; /* matches that were only counted */
	u64 second;     /* the second that the others count */
	u64 in_second;  /* matches that went to user space */
	u64 unlike_in_second; /* those that went beyond the limit, since they were unlike the others */
};
BPF_HASH(rule_counters, struct rule_key, struct rule_counter, 16384);

/* The room that the rules of one namespace have in `rule_counters`; user space corrects `used`. */
struct counter_pool {
	u32 used;
	u32 room;
};
BPF_ARRAY(counter_pools, struct counter_pool, 1); /* the first is the system's; as many as there are namespaces */
BPF_ARRAY(pool_of_rule, u32, 1);                  /* by the rule's number; as many as there are rules */

BPF_TABLE("lru_hash", u64, u64, told_matches, 8192); /* beyond the limit: likeness -> time, ns since boot */

/* Shares of the rings (shares.h). Of bytes that were written, by when: */
struct share {
	u64 mark;   /* a position in the ring, */
	u64 before; /* those before it, */
	u64 since;  /* those after it; */
	u64 end;    /* all of them end before this position */
};
BPF_TABLE("lru_hash", u64, struct share, shares, 16384);

/* Records that were lost. */
struct loss_key {
	u64 cgroup;
	u32 rule; /* 0: any */
	u32 kind; /* LOST_… */
};
BPF_HASH(losses, struct loss_key, u64, 4096);

#endif
