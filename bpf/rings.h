/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_RINGS_H
#define TIERCEL_RINGS_H

#include "maps.h"

/* Operations of io_uring. A program hands them over in memory that it shares with the kernel, and a thread of the kernel
 * may do the work: no system call is made for it. Each stands for the system call that does the same. */

#define RING_NAME 512 /* bytes of a name that are kept; longer ones are cut */

/* An operation that has begun. */
struct ring_call {
	u32 number; /* of the call that it stands for */
	u32 slot;   /* not 0: the file gets into a slot, and no descriptor */
	u64 argument[6];
	u64 how[3];
	u32 length[2]; /* of the names, with the NUL at their ends; 0: there is none */
	char name[2][RING_NAME];
};
BPF_ARRAY(empty_ring_call, struct ring_call, 1);
#define NO_PREALLOC 1
/* By the address of the request. */
BPF_F_TABLE("hash", u64, struct ring_call, ring_calls, 4096, NO_PREALLOC);

#endif
