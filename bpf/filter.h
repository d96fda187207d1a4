/* The filter: which calls no rule can match, as user space has learned it.
 *
 * The kernel knows no rules. It knows classes: two processes, or two subjects (a path, an end of a connection), are of
 * one class if every condition of the rules that looks at nothing else comes out the same for both. User space
 * evaluates a call that it hasn't met before, and writes the classes of what it saw and the verdict on their
 * combination here. What isn't found here passes: the filter may let through too much, never too little.
 *
 * Everything bears the generation of the rules that it was learned under; another generation is as good as nothing. */

#define SUBJECT_SIZE 128
#define CLASS_UNKNOWN 0
#define CLASS_NONE 1        /* there is no such subject: a failed open has no resolved path */
#define CLASS_ANY 0xffffffffu /* in a key: whatever the subject */

#define VERDICT_DROP 1
#define VERDICT_LOOK 2 /* it depends on the subject */
#define VERDICT_PASS 3

struct verdict_key {
	u32 generation;
	u32 process;
	u32 given; /* the path as passed, or the end of a connection */
	u32 real;  /* the path as resolved */
	u32 call;
	s32 result; /* up to 16: larger ones are all alike */
	u32 args[3];
};

struct subject_key {
	u8 bytes[SUBJECT_SIZE];
};

struct subject_class {
	u32 generation;
	u32 class;
};

struct process_class {
	u64 start;
	u64 cred;
	u64 cgroup;    /* each thread has its own, as with cred */
	u64 as_of;     /* ns since boot: anything that changed later makes it void */
	u32 generation;
	u32 class;
	u32 confirmed; /* see filter/learner.py */
	u32 padding;
};

/* What the record tells of the filter's look: enough to learn from. */
struct filter_facts {
	struct verdict_key key;
	u32 verdict;
	u64 start;
	u64 cred;
	u64 as_of;
};

BPF_TABLE("lru_hash", struct verdict_key, u32, verdicts, 16384);
BPF_TABLE("lru_hash", struct subject_key, struct subject_class, subjects, 16384);
BPF_TABLE("lru_hash", u32, struct process_class, process_classes, 16384);
BPF_HASH(changes, u32, u64, 32768); /* thread group -> when something of it changed, ns since boot */
BPF_ARRAY(generation, u32, 1);      /* 0: no filtering */
BPF_ARRAY(lineage, u64, 1);         /* when the ancestors of some process may have changed */

/* A change is told of before it is done, or while it is being done: what is learned within this time is void too. */
#define CHANGE_TAKES 1000000 /* ns */

static __always_inline void changed_lineage(u64 when)
{
	u32 zero = 0;
	u64 *last = lineage.lookup(&zero);
	if (last && *last < when)
		*last = when;
}

/* Something that a process's own class depends on changes. */
static __always_inline void changed_process(u32 pid)
{
	u64 when = bpf_ktime_get_boot_ns() + CHANGE_TAKES;
	if (changes.update(&pid, &when) != 0)
		changed_lineage(when);
	process_classes.delete(&pid);
}

/* Whether other processes may have this one among their ancestors. */
static __always_inline u32 has_descendants(const char *task)
{
	if (READ_POINTER(task, TASK_CHILDREN) != task + TASK_CHILDREN)
		return 1;
	return READ(u32, READ_POINTER(task, TASK_SIGNAL), SIGNAL_THREADS) > 1; /* children of other threads */
}
