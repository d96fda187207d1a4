/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_RECORDS_H
#define TIERCEL_RECORDS_H

/* What user space reads from the ring buffers. A record of a system call is a header and then sections, each with a small
 * header of its own. Integers are in the machine's byte order. kernel/records.py reads exactly these layouts, and
 * tests/agent/kernel/test_layouts.py compares both. */

#define ANCESTORS 8       /* in the header */
#define MORE_ANCESTORS 56 /* in a section */

/* A program that a process runs: another start time or another number of execs under the same pid is another one. */
struct process {
	u64 start; /* ns since boot */
	u32 pid;   /* of the thread group, in the initial namespace */
	u32 execs; /* how often the task has called exec, the low 32 bits */
	char comm[16];
};

struct header {
	u32 length; /* of the whole record, in bytes */
	u16 type;   /* the number of the system call, or one of RECORD_… */
	u16 flags;  /* FLAG_… */
	u64 time;   /* ns since boot */
	s64 result;
	u64 args[6];
	u64 cgroup;
	u64 cap_permitted;
	u64 cap_effective;
	u64 cap_inheritable;
	u32 tid;
	u32 uid; /* the effective one, as gid */
	u32 gid;
	u32 loginuid;
	u32 session; /* of the audit system */
	u32 pgid;
	u32 sid;
	u32 tty;  /* device number; 0: there is no terminal */
	u32 vtid; /* vtid to vsid: the same ids in the process's own pid namespace */
	u32 vpid;
	u32 vpgid;
	u32 vsid;
	u32 mount_ns;
	u32 pid_ns;
	u32 net_ns;
	u32 user_ns;
	char comm[16]; /* of the thread */
	struct process self;
	struct process ancestors[ANCESTORS]; /* the parent first; pid 0 ends the list */
};
_Static_assert(sizeof(struct header) % 8 == 0, "sections begin at multiples of 8");

/* Types of records that are not the return of a system call. */
#define RECORD_EXEC 0xff00
#define RECORD_FORK 0xff01
#define RECORD_EXIT 0xff02
#define RECORD_CGROUP_MADE 0xff03
#define RECORD_CGROUP_REMOVED 0xff04

struct fork_record {
	u32 length;
	u16 type;
	u16 flags;
	struct process child;
	struct process parent;
};

struct exit_record {
	u32 length;
	u16 type;
	u16 flags;
	u64 time;
	s64 status;
	struct process self;
};

struct cgroup_record {
	u32 length;
	u16 type;
	u16 flags;
	u64 id;
	u32 hierarchy; /* 0: cgroup version 2 */
	u32 path_length;
	char path[1024]; /* as long as the kernel's own buffer for it */
};

#define FLAG_COMPAT 1    /* a 32-bit system call */
#define FLAG_TRUNCATED 2 /* a section did not fit and is missing */
#define FLAG_AGAIN 4     /* an exec record that is sent a second time: not an event */
#define FLAG_BY_DESCRIPTOR 8 /* exec of an open descriptor: execveat or fexecve */
#define FLAG_LINEAGE_ENDS 16 /* an ancestor is about to end: its children will soon have another parent */
#define FLAG_OTHER_ROOT 32   /* the process's root directory isn't that of the machine's first process */
#define FLAG_NAMESPACES 64   /* no rule of the system can match, only rules of namespaces */
#define FLAG_RING 256        /* an operation of io_uring, which stands for that call */
#define FLAG_EXCHANGED 128   /* another thread has put something else behind the descriptor; what is told is what was there */

struct section {
	u16 kind;   /* SECTION_… */
	u16 length; /* of what follows, without padding; the next section begins at a multiple of 8 */
	u32 number; /* its meaning depends on the kind */
};
_Static_assert(sizeof(struct section) == 8, "payloads begin at multiples of 8");

#define SECTION_PATH_0 1     /* the first path argument, as the caller passed it; number: 1 if it is cut */
#define SECTION_PATH_1 2     /* the second one */
#define SECTION_BASE_0 3     /* the folder that a relative first path starts from; number: 1 if it is cut */
#define SECTION_BASE_1 4
#define SECTION_FILE 5       /* struct file_facts of the event's descriptor; number: the descriptor */
#define SECTION_FILE_PATH 6  /* its path, as the kernel knows it; number: 1 if it is cut */
#define SECTION_SOCKET 7     /* struct socket_facts; number: the descriptor */
#define SECTION_ADDRESS 8    /* the socket address that the caller passed or received */
#define SECTION_DATA 9       /* the first bytes that were sent or received */
#define SECTION_ARGS 10      /* argv, joined by NUL; number: the length of all of it, which may be longer */
#define SECTION_ENV 11       /* the environment, in the same way */
#define SECTION_EXE 12       /* struct file_facts of the executable */
#define SECTION_EXE_PATH 13
#define SECTION_FILENAME 14  /* the name that was passed to execve, the kernel's copy */
#define SECTION_CWD 15
#define SECTION_UNIX_PATH 16 /* the address of a Unix socket; number: 1 if it is the peer's */
#define SECTION_OPEN_HOW 17  /* flags, mode, resolve: three u64 */
#define SECTION_FILTER 18    /* struct filter_facts */
#define SECTION_ARGUMENT_COUNT 19 /* nothing but its number: argc */
#define SECTION_REAL_0 20    /* where the first path led, as the kernel's hook saw it; number: 1 if it is cut */
#define SECTION_REAL_1 21    /* the second one */
#define SECTION_ANCESTORS 23 /* struct process of each ancestor beyond those of the header; number: 1 if there may be more */
#define SECTION_DEVICE 22    /* the name of the block device that is mounted; number: its device number */

struct file_facts {
	u64 inode;
	s64 ctime_s;
	s64 mtime_s;
	u32 ctime_ns;
	u32 mtime_ns;
	u32 device;
	u32 mode;   /* i_mode */
	u32 flags;  /* f_flags */
	u32 links;
	u32 owner;
	u32 traits; /* TRAIT_… */
};

#define TRAIT_UPPER_LAYER 1 /* of an overlay file system */
#define TRAIT_LOWER_LAYER 2
#define TRAIT_DETACHED 4    /* a file without a place in the tree: memfd, pipe, anonymous inode */
#define TRAIT_CREATED 8     /* it was made by this open */

struct socket_facts {
	u64 inode;
	u16 family;
	u16 type;
	u16 protocol;
	u8 state;
	u8 role; /* ROLE_… */
	u16 local_port; /* both ports in host order */
	u16 remote_port;
	u32 padding;
	u8 local[16]; /* an IPv4 address is in the first four bytes */
	u8 remote[16];
};

#define ROLE_BOUND 1     /* the program chose the local port */
#define ROLE_ACCEPTED 2  /* TCP: the socket came out of accept() */
#define ROLE_CONNECTED 4 /* TCP: any other socket that has a port */

/* A kind of call: calls with the same key are alike for the filter. Also the key of the map `call_sets`. */
struct call_key {
	u32 call;
	s32 result; /* results above 16 count as 16 */
	u32 args[3];
	u32 kind; /* of the file that was opened: the upper bits of its mode, or KIND_… */
};
_Static_assert(sizeof(struct call_key) == 3 * sizeof(u64), "filter.h compares keys by words");

#define KIND_NONE 0 /* no file was opened */
#define KIND_CREATED 16 /* beside the kind: the file is new */
#define KIND_UNKNOWN 0xff

/* What the filter knew of the call: enough for user space to learn from it. */
struct filter_facts {
	struct call_key key;
	u32 known; /* KNOWN_… */
	u32 padding;
	u64 start; /* of the process, ns since boot */
	u64 cred;  /* the address of the thread's credentials */
	u64 as_of; /* ns since boot; 0: nothing may be learned of the process */
};

#define KNOWN_PROCESS 1
#define KNOWN_CALL 2
#define KNOWN_NAME 4
#define KNOWN_CONNECTION 8
#define NOT_TO_BE_LEARNED 16 /* the key isn't filled in */

#endif
