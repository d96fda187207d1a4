/* The filter: which calls no rule can match (decide.h), and what it knows of processes, calls and connections.
 *
 * What it knows of names stands in the automaton, made with the rules. The rows of processes, of kinds of calls and of
 * connections are learned: user space evaluates what comes through, and writes here what its like is ruled out of.
 * What isn't found here rules nothing out: the filter may let through too much, never too little. */

struct call_key {
	u32 call;
	s32 result; /* up to 16: larger ones are all alike */
	u32 args[3];
	u32 kind;   /* of the file that was opened: the upper bits of its mode; KIND_NONE if none was */
};
#define KIND_NONE 0
#define KIND_UNKNOWN 0xff

struct connection_key {
	u16 call;
	u16 family;
	u16 type;
	u16 protocol;
	u16 remote_port; /* as it is sent */
	u16 local_port;
	u32 role;
	u8 local[16];
	u8 remote[16];
	u8 passed[24];   /* the socket address, where the socket has no other end */
};

/* Of a process, in the slot of its pid; others with the same slot take turns. User space writes it in steps, so that no
 * half of it is taken for true; `changed` tells when it became void: a new process of that pid is such a change. */
struct process_class {
	u64 start;
	u64 cred;      /* each thread has its own, as with the cgroup */
	u64 cgroup;
	u64 as_of;     /* ns since boot: what changed later makes it void */
	u32 row;       /* by all conditions on processes; void once ancestors of some process have changed */
	u32 own;       /* by those that don't ask for its ancestors */
	u32 confirmed;
	u32 pid;
};
#define PROCESS_SLOTS 32768

/* What the record tells of the filter's look: enough to learn from. */
struct filter_facts {
	struct call_key key;
	u32 known;   /* KNOWN_… */
	u32 padding;
	u64 start;
	u64 cred;
	u64 as_of;   /* 0: nothing of the process is to be learned */
};
#define KNOWN_PROCESS 1
#define KNOWN_CALL 2
#define KNOWN_NAME 4
#define KNOWN_CONNECTION 8
#define NOT_TO_BE_LEARNED 16 /* the key isn't filled in */

struct settings {
	u32 flood_limit; /* matches a second of one rule in one cgroup */
	u32 agent;       /* the process that isn't watched: the agent itself */
	u64 lineage;     /* when the ancestors of some process may have changed: the kernel's own word */
};

BPF_ARRAY(settings, struct settings, 1);
/* One value each of a size that the loader chooses: CANDIDATE_SET_WORDS words, AUTOMATON_SIZE bytes. */
BPF_ARRAY(candidate_sets, u64, 1);
BPF_ARRAY(automaton, u64, 1);
BPF_TABLE("lru_hash", struct call_key, u32, call_sets, 8192);
BPF_TABLE("lru_hash", struct connection_key, u32, connection_sets, 8192);
BPF_ARRAY(process_classes, struct process_class, PROCESS_SLOTS);
BPF_ARRAY(changed, u64, PROCESS_SLOTS); /* when something of a process of the slot changed, ns since boot */

/* A change is told of before it is done, or while it is being done: what is learned within this time is void too. */
#define CHANGE_TAKES 1000000 /* ns */

static __always_inline void changed_lineage(u64 when)
{
	u32 zero = 0;
	struct settings *now = settings.lookup(&zero);
	if (now && now->lineage < when)
		now->lineage = when;
}

/* Something that a process's own class depends on changes. */
static __always_inline void changed_process(u32 pid)
{
	u32 slot = pid % PROCESS_SLOTS;
	u64 *when = changed.lookup(&slot);
	if (when)
		*when = bpf_ktime_get_boot_ns() + CHANGE_TAKES;
}

/* Whether other processes may have this one among their ancestors. */
static __always_inline u32 has_descendants(const char *task)
{
	if (READ_POINTER(task, TASK_CHILDREN) != task + TASK_CHILDREN)
		return 1;
	return READ(u32, READ_POINTER(task, TASK_SIGNAL), SIGNAL_THREADS) > 1; /* children of other threads */
}
