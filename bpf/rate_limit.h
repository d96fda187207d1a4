/* What comes through of each rule in each cgroup: floods are counted here, and the buffer is shared fairly.
 *
 * Where the kernel alone decides that a rule matches, more than the limit a second are suppressed: counted, and
 * reported as one alert. Where user space must decide, nothing is cut unless the buffer is half full; then each rule and
 * cgroup may have a sixteenth of it, and what is more is lost, counted by rule. So a flood of one rule starves no other. */

struct share_key {
	u64 cgroup;
	u32 rule;
	u32 padding;
};
#define UNCLASSIFIED 0xffffff /* as rule: too little is known of the call to say which it may match */
/* In clause_rules, beside the rule: */
#define RULE 0xffffff
#define EXACT 0x80000000    /* the rows decide the clause, */
#define NEEDS(entry) ((entry) >> 24 & 0xf) /* if so much is known (KNOWN_…) */

struct share {
	u64 passed;
	u64 suppressed;
	u64 lost;
	u64 second;    /* the one that in_second counts in */
	u64 in_second;
	u64 mark;      /* position in the buffer from which `since` counts */
	u64 since;     /* records written from there on */
};

BPF_HASH(rule_counters, struct share_key, struct share, 16384);
BPF_ARRAY(clause_rules, u32, 1024);

#define RECORD_ESTIMATE 1024 /* bytes */

/* bpf_ringbuf_query, which bcc has no method for; the loader knows which map the number stands for. */
#define QUERY(flag) query_ring((void *)bpf_pseudo_fd(1, CALLS_RING), flag)
#define CALLS_RING 0x7fff0002
#define AVAILABLE_DATA 0 /* BPF_RB_… */
#define RING_SIZE 1
#define CONSUMER_POSITION 2
#define PRODUCER_POSITION 3
static u64 (*query_ring)(void *ring, u64 flag) = (void *)134;

static __always_inline struct share *share_of(struct share_key *key)
{
	struct share *share = rule_counters.lookup(key);
	if (share)
		return share;
	struct share none = {};
	rule_counters.insert(key, &none);
	return rule_counters.lookup(key);
}

/* Whether one more record of this share may go into the buffer. */
static __always_inline u32 has_room(struct share *share)
{
	u64 size = QUERY(RING_SIZE);
	if (QUERY(AVAILABLE_DATA) < size / 2)
		return 1;
	if (QUERY(CONSUMER_POSITION) >= share->mark) {
		share->mark = QUERY(PRODUCER_POSITION);
		share->since = 0;
	}
	return share->since * RECORD_ESTIMATE < size / 16;
}

/* Whether the rows have decided a clause. */
static __always_inline u32 is_decided(u32 entry, u32 known)
{
	return (entry & EXACT) && !(NEEDS(entry) & ~known);
}

/* Whether the call goes to user space: if one of the clauses that it may match has a share left. */
static __always_inline u32 admitted(struct survivors *survivors, struct share_key *key, u32 known, u32 limit)
{
	u64 second = bpf_ktime_get_boot_ns() >> 30; /* about */
	u32 crowd = survivors->count > MAX_SURVIVORS;

	key->cgroup = bpf_get_current_cgroup_id();
	for (u32 i = 0; i < MAX_SURVIVORS; i++) {
		if (i >= survivors->count)
			break;
		u32 *rule = clause_rules.lookup(&survivors->clause[i]);
		if (!rule)
			return 1;
		u32 exact = !crowd && is_decided(*rule, known);
		key->rule = crowd ? UNCLASSIFIED : *rule & RULE;
		struct share *share = share_of(key);
		if (!share)
			return 1;
		if (share->second != second) {
			share->second = second;
			share->in_second = 0;
		}
		if (exact ? share->in_second < limit : has_room(share)) {
			/* Not both: what only may match must not use up what is there for matches. */
			__sync_fetch_and_add(exact ? &share->in_second : &share->since, 1);
			__sync_fetch_and_add(&share->passed, 1);
			return 1;
		}
		if (crowd)
			break;
	}
	u32 counted = 0;
	for (u32 i = 0; i < MAX_SURVIVORS; i++) {
		if (i >= survivors->count)
			break;
		u32 *rule = clause_rules.lookup(&survivors->clause[i]);
		if (!rule)
			break;
		key->rule = crowd ? UNCLASSIFIED : *rule & RULE;
		if (key->rule == counted) /* the clauses of a rule follow each other */
			continue;
		counted = key->rule;
		struct share *share = rule_counters.lookup(key);
		if (share && !crowd && is_decided(*rule, known))
			__sync_fetch_and_add(&share->suppressed, 1);
		else if (share)
			__sync_fetch_and_add(&share->lost, 1);
		if (crowd)
			break;
	}
	return 0;
}

/* The buffer had no room after all. */
static __always_inline void lost_record(struct share_key *key)
{
	struct share *share = key->rule ? rule_counters.lookup(key) : NULL;
	if (share)
		__sync_fetch_and_add(&share->lost, 1);
	else
		count(LOST_CALLS);
}
