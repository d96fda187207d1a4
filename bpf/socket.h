/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_SOCKET_H
#define TIERCEL_SOCKET_H

#include "path.h"
#include "read.h"
#include "sections.h"

/* Sockets, read from struct sock. */

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

static __always_inline void section_unix_address(struct record *record, const char *sock, u32 peer)
{
	const char *address = sock ? READ_POINTER(sock, UNIX_ADDRESS) : NULL;
	u8 *payload = section_payload(record);
	if (!address || !payload)
		return;
	/* struct sockaddr_un: two bytes with the family, then the path, or NUL and an abstract name */
	u32 length = READ(u32, address, UNIX_ADDRESS_LENGTH);
	if (length <= 2 || length > 110)
		return;
	length = (length - 2) & 127;
	if (bpf_probe_read_kernel(payload, length, address + UNIX_ADDRESS_NAME + 2) == 0)
		section_end(record, SECTION_UNIX_PATH, length, peer);
}

#define IPPROTO_TCP 6
#define BINDPORT_LOCK 8 /* SOCK_BINDPORT_LOCK: the program has chosen the port */

/* ROLE_… of the local end. A TCP port that the kernel chose at connect() is in a bucket whose fastreuse is -1. A connection
 * that was accepted is in the listener's bucket, but isn't bound itself. */
static __always_inline u8 socket_role(const char *sock, u16 protocol)
{
	u8 role = 0;
#ifdef SOCK_USERLOCKS
	if (READ(u8, sock, SOCK_USERLOCKS) & BINDPORT_LOCK)
		role |= ROLE_BOUND;
#endif
#ifdef ICSK_BIND_HASH
	const char *bucket = protocol == IPPROTO_TCP ? READ_POINTER(sock, ICSK_BIND_HASH) : NULL;
	if (bucket)
		role |= !(role & ROLE_BOUND) && READ(s8, bucket, BUCKET_FASTREUSE) >= 0 ? ROLE_ACCEPTED : ROLE_CONNECTED;
#endif
	return role;
}

static __always_inline void section_socket(struct record *record, const char *file, u32 number)
{
	const char *socket = READ_POINTER(file, FILE_PRIVATE);
	const char *sock = READ_POINTER(socket, SOCKET_SK);
	struct socket_facts *facts = (struct socket_facts *)section_payload(record);
	if (!sock || !facts)
		return;
	facts->inode = READ(u64, READ_POINTER(file, FILE_INODE), INODE_INO);
	facts->family = READ(u16, sock, SOCK_FAMILY);
	facts->type = READ(u16, sock, SOCK_TYPE);
	facts->protocol = READ(u16, sock, SOCK_PROTOCOL);
	facts->state = READ(u8, sock, SOCK_STATE);
	facts->role = socket_role(sock, facts->protocol);
	facts->local_port = READ(u16, sock, SOCK_LOCAL_PORT);
	facts->remote_port = __builtin_bswap16(READ(u16, sock, SOCK_REMOTE_PORT));
	facts->padding = 0;
	__builtin_memset(facts->local, 0, 32);
	if (facts->family == AF_INET) {
		bpf_probe_read_kernel(facts->local, 4, sock + SOCK_LOCAL_V4);
		bpf_probe_read_kernel(facts->remote, 4, sock + SOCK_REMOTE_V4);
	} else if (facts->family == AF_INET6) {
		bpf_probe_read_kernel(facts->local, 16, sock + SOCK_LOCAL_V6);
		bpf_probe_read_kernel(facts->remote, 16, sock + SOCK_REMOTE_V6);
	}
	u16 family = facts->family;
	section_end(record, SECTION_SOCKET, sizeof(*facts), number);
	if (family == AF_UNIX) {
		section_unix_address(record, sock, 0);
		section_unix_address(record, READ_POINTER(sock, UNIX_PEER), 1);
	}
}

/* Whether a hook has seen the socket of the call, and its address. */
static __always_inline u32 is_captured(struct record *record)
{
	return record->captured & CAPTURES_SOCKET;
}

static __always_inline void section_captured_address(struct record *record)
{
#ifdef HOOKS
	section_kernel_bytes(record, SECTION_ADDRESS, record->socket_seen.address, record->socket_seen.length);
#endif
}

/* Whether another socket is behind the descriptor than the one that the call was about. */
static __always_inline u32 is_other_socket(struct record *record, const char *file)
{
#ifdef HOOKS
	return is_captured(record) &&
	       (!file || READ_POINTER(file, FILE_PRIVATE) != record->socket_seen.socket);
#else
	return 0;
#endif
}

#ifdef HOOKS
/* What is known of the socket that the call was about, where another one has taken its place. */
static __always_inline void section_seen_socket(struct record *record, u32 number)
{
	struct captured_socket *seen = &record->socket_seen;
	struct socket_facts *facts = (struct socket_facts *)section_payload(record);
	if (!facts)
		return;
	__builtin_memset(facts, 0, sizeof(*facts));
	facts->inode = seen->inode;
	facts->family = seen->family;
	facts->type = seen->type;
	facts->protocol = seen->protocol;
	section_end(record, SECTION_SOCKET, sizeof(*facts), number);
	record->header.flags |= FLAG_EXCHANGED;
}
#endif

/* What a descriptor stands for: a socket, or a file with its path. */
static __always_inline void section_descriptor(struct record *record, s32 descriptor)
{
	const char *file = record->file ? record->file : file_of(descriptor);
#ifdef HOOKS
	if (is_exchanged(record)) {
		section_seen_file(record, descriptor);
		return;
	}
	if (is_other_socket(record, file)) {
		section_seen_socket(record, descriptor);
		return;
	}
#endif
	if (!file)
		return;
	const char *inode = READ_POINTER(file, FILE_INODE);
	if ((READ(u16, inode, INODE_MODE) & S_IFMT) == S_IFSOCK) {
		section_socket(record, file, descriptor);
		return;
	}
	struct open_file open = open_file(file);
	section_file_facts(record, SECTION_FILE, &open, descriptor);
	want_path(record, SECTION_FILE_PATH, file + FILE_PATH);
}

#endif
