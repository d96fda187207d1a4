/* What travels to user space: a fixed header, then sections. All integers are the machine's own;
 * kernel/records.py reads exactly this layout. */

#define ANCESTORS 8

/* A process: the same pid with another start time or another exec is another image. */
struct process {
	u64 start;   /* ns since boot */
	u32 pid;     /* of the thread group, in the initial namespace */
	u32 execs;   /* how often the task has exec'ed, low 32 bits */
	char comm[16];
};

struct header {
	u32 length;  /* of the whole record */
	u16 type;    /* number of the system call, or one of the RECORD_… */
	u16 flags;   /* FLAG_… */
	u64 time;    /* ns since boot */
	s64 result;
	u64 args[6];
	u64 cgroup;
	u64 cap_permitted;
	u64 cap_effective;
	u64 cap_inheritable;
	u32 tid;
	u32 uid;     /* effective */
	u32 gid;
	u32 loginuid;
	u32 session; /* audit session */
	u32 pgid;
	u32 sid;
	u32 tty;     /* device number, 0: none */
	u32 vtid;    /* the same ids as the process's own pid namespace counts them */
	u32 vpid;
	u32 vpgid;
	u32 vsid;
	u32 mount_ns;
	u32 pid_ns;
	u32 net_ns;
	u32 user_ns;
	char comm[16];                       /* of the thread */
	struct process self;
	struct process ancestors[ANCESTORS]; /* parent first; pid 0 ends the list */
};

/* Records that are not the return of a system call. */
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
	u32 hierarchy; /* 0: version 2 */
	u32 path_length;
	char path[1024]; /* as long as the kernel's own buffer for it */
};

#define FLAG_COMPAT 1    /* a 32-bit system call */
#define FLAG_TRUNCATED 2 /* a section did not fit and is missing */
#define FLAG_AGAIN 4     /* an exec record that is sent once more: not an event */
#define FLAG_BY_DESCRIPTOR 8 /* exec of an open descriptor: execveat or fexecve */
#define FLAG_LINEAGE_ENDS 16 /* an ancestor is ending: its children will soon have another parent */

struct section {
	u16 kind;
	u16 length; /* of what follows, without padding; the next section begins at a multiple of 8 */
	u32 number; /* its meaning depends on the kind */
};

#define SECTION_PATH_0 1      /* first path argument, as the caller gave it */
#define SECTION_PATH_1 2      /* second one */
#define SECTION_BASE_0 3      /* the folder that a relative first path starts from; number: 1 if cut */
#define SECTION_BASE_1 4
#define SECTION_FILE 5        /* struct file_facts, of the event's descriptor; number: the descriptor */
#define SECTION_FILE_PATH 6   /* its path as the kernel knows it; number: 1 if cut */
#define SECTION_SOCKET 7      /* struct socket_facts; number: the descriptor */
#define SECTION_ADDRESS 8     /* the socket address that the caller passed or received */
#define SECTION_DATA 9        /* the first bytes sent or received */
#define SECTION_ARGS 10       /* argv, joined by NUL */
#define SECTION_ENV 11        /* environment, joined by NUL */
#define SECTION_EXE 12        /* struct file_facts of the executable */
#define SECTION_EXE_PATH 13
#define SECTION_FILENAME 14   /* the name passed to execve, the kernel's copy */
#define SECTION_CWD 15
#define SECTION_UNIX_PATH 16  /* address of a Unix socket; number: 1 if it is the peer's */
#define SECTION_FILTER 18     /* struct filter_facts of filter.h */
#define SECTION_OPEN_HOW 17   /* flags, mode, resolve: three u64 */

struct file_facts {
	u64 inode;
	s64 ctime_s;
	s64 mtime_s;
	u32 ctime_ns;
	u32 mtime_ns;
	u32 device;
	u32 mode;    /* i_mode */
	u32 flags;   /* f_flags */
	u32 links;
	u32 owner;
	u32 traits;  /* TRAIT_… */
};

#define ROLE_BOUND 1     /* the program chose the local port */
#define ROLE_ACCEPTED 2  /* TCP: came out of accept() */
#define ROLE_CONNECTED 4 /* TCP: anything else that has a port */

#define TRAIT_UPPER_LAYER 1 /* of an overlay file system */
#define TRAIT_LOWER_LAYER 2
#define TRAIT_DETACHED 4    /* a file without a place in the tree: memfd, pipe, anonymous inode */

struct socket_facts {
	u64 inode;
	u16 family;
	u16 type;
	u16 protocol;
	u8 state;
	u8 role;     /* ROLE_… */
	u16 local_port;
	u16 remote_port; /* both in host order */
	u32 padding;
	u8 local[16];    /* IPv4 in the first four bytes */
	u8 remote[16];
};
