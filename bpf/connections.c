// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The filter's look at the ends of a connection. */

#include "filter.h"
#include "socket.h"

#define SOCK_STREAM 1
#define SOCK_SEQPACKET 5

/* Where a datagram is sent to, whatever its socket is connected to; 0: there it goes. */
static __always_inline u64 sent_elsewhere(struct record *record, struct plan *plan, u16 type)
{
	if (!(plan->flags & PLAN_SENDS) || type == SOCK_STREAM || type == SOCK_SEQPACKET)
		return 0;
	if (plan->flags & PLAN_MSGHDR)
		return READ_USER(u64, saved_argument(record, 1)); /* msg_name */
	return saved_argument(record, plan->address);
}

/* Writes the address that was passed; returns its length, 0 if it is none of IP. */
static __always_inline u32 read_passed(struct record *record, struct plan *plan, void *address)
{
#ifdef HOOKS
	if (is_captured(record)) {
		struct captured_socket *captured = &record->socket_seen;
		u32 length = captured->family == AF_INET ? 8 : 24;
		if (*(u16 *)captured->address != captured->family || captured->length < length)
			return 0;
		bpf_probe_read_kernel(address, length, captured->address);
		return length;
	}
#endif
	u64 passed = plan->address < 0 ? 0 : saved_argument(record, plan->address);
	u16 family = READ_USER(u16, passed);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	u32 length = family == AF_INET ? 8 : 24;
	bpf_probe_read_user(address, length, (const void *)passed);
	return length;
}

/* The candidate set of a connection, by the call, the kind of socket and its ends; user space makes the same key from the
 * record. The client's port is left out of a connect and an accept: it is a different one each time, and no condition that
 * is decided here depends on it. */
static __always_inline u32 connection_set(struct record *record, struct plan *plan, s64 result)
{
	u32 accepts = plan->descriptor == RETURNED, messages = plan->family == FAMILY_MESSAGE;
	s32 descriptor = accepts ? (s32)result : (s32)saved_argument(record, plan->descriptor);
	const char *file = record->file ? record->file : file_of(descriptor);
	if (is_other_socket(record, file)) {
		record->filter.known |= NOT_TO_BE_LEARNED;
		return NOTHING_KNOWN;
	}
	record->file = file; /* is not looked up again */
	if (!file || (READ(u16, READ_POINTER(file, FILE_INODE), INODE_MODE) & S_IFMT) != S_IFSOCK)
		return NOTHING_KNOWN;
	const char *sock = READ_POINTER(READ_POINTER(file, FILE_PRIVATE), SOCKET_SK);
	u16 family = READ(u16, sock, SOCK_FAMILY), protocol = READ(u16, sock, SOCK_PROTOCOL);
	struct connection_key *key = &record->connection;
	__builtin_memset(key, 0, sizeof(*key));
	key->call = record->call_number;
	key->family = family;
	key->type = READ(u16, sock, SOCK_TYPE);
	key->protocol = protocol;
	if (family == AF_INET || family == AF_INET6) {
		u16 remote_port = READ(u16, sock, SOCK_REMOTE_PORT);
		if (family == AF_INET) {
			bpf_probe_read_kernel(key->local, 4, sock + SOCK_LOCAL_V4);
			bpf_probe_read_kernel(key->remote, 4, sock + SOCK_REMOTE_V4);
		} else {
			bpf_probe_read_kernel(key->local, 16, sock + SOCK_LOCAL_V6);
			bpf_probe_read_kernel(key->remote, 16, sock + SOCK_REMOTE_V6);
		}
		if (!accepts)
			key->remote_port = remote_port;
		if (messages)
			key->role = socket_role(sock, protocol);
		if (accepts || messages)
			key->local_port = READ(u16, sock, SOCK_LOCAL_PORT);
		if (!remote_port || sent_elsewhere(record, plan, key->type)) { /* what was passed counts */
			u32 length = read_passed(record, plan, key->passed);
			if (!length)
				return NOTHING_KNOWN;
		}
	}
	u32 *set = connection_sets.lookup(key);
	return set ? *set : NOTHING_KNOWN;
}

int connection(struct call_context *ctx)
{
	u32 zero = 0;
	/* Read at once: the compiler must not make a pointer into the context of it, which the verifier refuses. */
	s64 result = READ_ONCE(ctx->result);
	struct record *record = scratch();
	struct plan *plan = record ? plan_of(record->call_number) : NULL;
	const u64 *table = candidate_sets.lookup(&zero);
	if (!record)
		return 0;
	if (!plan || !table)
		return done(record);
	u32 set = connection_set(record, plan, result);
	if (set != NOTHING_KNOWN) {
		record->sets.connection = set;
		record->filter.known |= KNOWN_CONNECTION;
		if (!any_candidate(table, &record->sets, READ_ONCE(plan->words))) {
			count(FILTERED_CALLS);
			return done(record);
		}
	}
	families.call(ctx, FAMILY_ADMIT);
	return lost(record);
}
