/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_READ_H
#define TIERCEL_READ_H

/* Reading the kernel's objects. TASK_…, FILE_…, SOCK_… and so on are offsets of members in the structures of the running
 * kernel. kernel/probes/offsets.py takes them from the kernel's BTF; the compiler gets them as macros.
 *
 * OBJECT makes an address readable, MEMBER reads from it at a constant offset. Where several members of one object are
 * read next to each other, one OBJECT for all of them is faster.
 *
 * Newer kernels let a program read any address by an instruction. An address that isn't mapped reads as 0, as it does with
 * the helper function. DIRECT_READS is a number that the loader replaces by the kernel's function for it
 * (kernel/loading/loader.py), READABLE_TYPE is the type that it makes of an address (kernel/probes/direct_reads.py). */

#ifdef DIRECT_READS
static void *(*readable)(const void *pointer, u32 type) = (void *)DIRECT_READS;
#define OBJECT(pointer) ((const char *)readable((const void *)(pointer), READABLE_TYPE))
#define MEMBER(type, object, offset) (*(const volatile type *)((object) + (offset)))
#else
#define OBJECT(pointer) ((const char *)(pointer))
#define MEMBER(type, object, offset)                                                           \
	({                                                                                     \
		type value_ = 0;                                                               \
		bpf_probe_read_kernel(&value_, sizeof(value_), (object) + (offset));           \
		value_;                                                                        \
	})
#endif

#define READ(type, pointer, offset) MEMBER(type, OBJECT(pointer), offset)
#define READ_AT(type, address) MEMBER(type, OBJECT(address), 0)
#define READ_POINTER(pointer, offset) ((const char *)READ(u64, pointer, offset))
#define MEMBER_POINTER(object, offset) ((const char *)MEMBER(u64, object, offset))

#define READ_USER(type, address)                                                               \
	({                                                                                     \
		type value_ = 0;                                                               \
		bpf_probe_read_user(&value_, sizeof(value_), (const void *)(address));         \
		value_;                                                                        \
	})

/* Helpers that kernels have from 5.15 on; programs for older ones don't call them. */
static void *(*current_task_btf)(void) = (void *)158; /* bpf_get_current_task_btf */
static void *(*task_registers)(void *task) = (void *)175; /* bpf_task_pt_regs */

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AT_FDCWD -100

#endif
