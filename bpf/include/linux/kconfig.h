/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The little that BCC needs of a kernel's headers.
 *
 * BCC includes this file before every program. Structure offsets come from the running kernel's
 * BTF (read.h), so nothing else of the kernel's headers is wanted, and none need be installed.
 */
#ifndef TIERCEL_KCONFIG_H
#define TIERCEL_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1
#define PAGE_SIZE 4096
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#ifndef LINUX_VERSION_CODE
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
#endif
#define NULL ((void *)0)
#define offsetof(type, member) __builtin_offsetof(type, member)
#define __bitwise
#define __always_inline inline __attribute__((always_inline))
#define __aligned_u64 __u64 __attribute__((aligned(8)))

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __s8 s8;
typedef __u8 u8;
typedef __s16 s16;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef u64 size_t;
typedef u64 uintptr_t;
typedef int pid_t;
typedef _Bool bool;

enum { false = 0, true = 1 };

struct pt_regs {
	u64 opaque[64];
};

#endif
