/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_SHARES_H
#define TIERCEL_SHARES_H

#include "counters.h"
#include "maps.h"
#include "read.h"
#include "scratch.h"

/* Fair shares of a ring, so that what one process does costs no other one its records.
 *
 * A record belongs to shares within shares: of its cgroup, in it of its user, of the session, of the parent, of the
 * process, and of the rule that it may match. What a program can choose by itself, such as its session, lies within what
 * it can't choose. What a share may take of the ring is a multiple of what is free (below), so that each share leaves
 * something, however many of them there are: alone, a rule may fill 1/3 of the ring, a process with several rules 1/2, a
 * parent 2/3, a session 3/4, a user 5/6, a cgroup 8/9; two cgroups 8/17 each, and so on. Whatever has room in all of its
 * shares is written. So two floods leave room beside them in the same share, and any number of them outside of it. */

#define OF_CGROUP 48 /* sixths of what is free */
#define OF_USER 30
#define OF_SESSION 18
#define OF_PARENT 12
#define OF_PROCESS 6
#define OF_RULE 3
#define OF_NAMESPACES 16 /* a sixteenth of the ring */

#define SHARES_OF_STARTS 4 /* cgroup, user, session, parent */
#define SHARE_OF_PROCESS 4 /* the index of its key */
#define SHARE_OF_RULE 5
#define SHARES_OF_CALLS 6

/* bpf_ringbuf_query: bcc has no method for it. The loader replaces these numbers by the rings. */
#define CALLS_RING 0x7fff0002
#define PROCESSES_RING 0x7fff0003
#define QUERY(ring, flag) query_ring((void *)bpf_pseudo_fd(1, ring), flag)
#define RING_SIZE 1 /* BPF_RB_… */
#define CONSUMER_POSITION 2
#define PRODUCER_POSITION 3
static u64 (*query_ring)(void *ring, u64 flag) = (void *)134;

struct ring_state {
	u64 size;
	u64 read;    /* position up to which user space has read */
	u64 written; /* position up to which there are records */
};

#define STATE_OF(ring)                                                                         \
	{                                                                                      \
		.size = QUERY(ring, RING_SIZE), .read = QUERY(ring, CONSUMER_POSITION),        \
		.written = QUERY(ring, PRODUCER_POSITION),                                     \
	}

/* The key of a part of a share. */
static __always_inline u64 share_of(u64 whole, u64 part)
{
	u64 mixed = (whole ^ part) * 0x9e3779b97f4a7c15;
	return mixed ^ mixed >> 32;
}

/* The keys of the shares of what a task does now, in the shares of a ring; `parent` is who starts or has started it. */
static __always_inline void find_shares(u64 *keys, u64 ring, const char *task, const char *parent)
{
	const char *session = READ_POINTER(READ_POINTER(task, TASK_SIGNAL), SIGNAL_PIDS + 3 * 8); /* PIDTYPE_SID */

	keys[0] = share_of(ring, bpf_get_current_cgroup_id());
	keys[1] = share_of(keys[0], bpf_get_current_uid_gid() & 0xffffffff); /* the real one */
	keys[2] = share_of(keys[1], session ? READ(u32, session, PID_NUMBERS + UPID_NR) : 0);
	keys[3] = share_of(keys[2], READ(u32, parent, TASK_TGID));
}

/* How many bytes of a share user space hasn't read yet, at most. */
static __always_inline u64 unread_of(u64 key, struct ring_state *ring)
{
	struct share *share = shares.lookup(&key);
	u64 all = ring->written - ring->read;

	if (!share || ring->read >= share->end)
		return 0;
	u64 unread = share->since;
	if (ring->read < share->mark)
		unread += share->before;
	return unread < all ? unread : all;
}

static __always_inline u64 free_in(struct ring_state *ring)
{
	return ring->size - (ring->written - ring->read);
}

/* Whether there is room for calls that only rules of namespaces may match. However many these are, those that the
 * system's rules wait for come soon: user space reads them in the order in which they were written. */
static __always_inline u32 namespaces_have_room(struct ring_state *ring)
{
	return ring->written - ring->read < ring->size / OF_NAMESPACES;
}

/* Whether a share that may take so many sixths of what is free may take more. */
static __always_inline u32 may_grow(u64 key, u32 sixths, struct ring_state *ring)
{
	return 6 * unread_of(key, ring) < sixths * free_in(ring);
}

/* The same for the shares of find_shares(). */
static __always_inline u32 starts_may_grow(u64 *keys, struct ring_state *ring)
{
	return may_grow(keys[0], OF_CGROUP, ring) & may_grow(keys[1], OF_USER, ring) &
	       may_grow(keys[2], OF_SESSION, ring) & may_grow(keys[3], OF_PARENT, ring);
}

/* Counts a record for its shares. `ring` is as it was before the record was written. */
static __always_inline void take_room(u64 *keys, u32 count, struct ring_state *ring, u32 size)
{
#pragma clang loop unroll(full)
	for (u32 i = 0; i < count; i++) {
		struct share none = {.mark = ring->written}, *share = shares.lookup(&keys[i]);
		if (!share) {
			shares.insert(&keys[i], &none);
			share = shares.lookup(&keys[i]);
		}
		if (!share)
			continue;
		if (ring->read >= share->mark) { /* all is read that was written before the mark */
			share->before = ring->read >= share->end ? 0 : share->since;
			share->since = 0;
			share->mark = ring->written;
		}
		share->end = ring->written + size;
		__sync_fetch_and_add(&share->since, size);
	}
}

/* Counts a record that was lost, by who lost it; `kind` is the counter for what can't be named: LOST_…. */
static __always_inline void count_loss(u32 kind, u32 rule)
{
	struct loss_key key = {.cgroup = bpf_get_current_cgroup_id(), .rule = rule, .kind = kind};
	u64 *known = losses.lookup(&key), none = 0;

	if (!known) {
		losses.insert(&key, &none);
		known = losses.lookup(&key);
	}
	if (known)
		__sync_fetch_and_add(known, 1);
	else
		count(kind);
}

/* Writes a record of the start, the image or the end of a process, if its shares have room. Returns whether it is written;
 * otherwise it is counted as lost. */
static __always_inline u32 send_process(const char *task, const char *parent, void *record, u32 size, u64 flags)
{
	u64 keys[SHARES_OF_STARTS];
	struct ring_state ring = STATE_OF(PROCESSES_RING);

	find_shares(keys, PROCESSES_RING, task, parent);
	if (!starts_may_grow(keys, &ring) || processes.ringbuf_output(record, size, flags) != 0) {
		count_loss(LOST_PROCESSES, 0);
		return 0;
	}
	take_room(keys, SHARES_OF_STARTS, &ring, size);
	return 1;
}

/* Whether there is room for one more call of the current process; the keys of the record's shares are filled in. */
static __always_inline u32 process_has_room(struct record *record, const char *task, struct ring_state *ring)
{
	u64 *keys = record->shares;

	find_shares(keys, CALLS_RING, task, READ_POINTER(task, TASK_REAL_PARENT));
	keys[SHARE_OF_PROCESS] = share_of(keys[SHARE_OF_PROCESS - 1], READ(u32, task, TASK_TGID));
	return starts_may_grow(keys, ring) & may_grow(keys[SHARE_OF_PROCESS], OF_PROCESS, ring);
}

/* The same for the calls of it that the rule record->rule may match, or any rule if that is 0. */
static __always_inline u32 rule_has_room(struct record *record, struct ring_state *ring)
{
	record->shares[SHARE_OF_RULE] = share_of(record->shares[SHARE_OF_PROCESS], record->rule.rule);
	return may_grow(record->shares[SHARE_OF_RULE], record->rule.rule ? OF_RULE : OF_PROCESS, ring);
}

#endif
