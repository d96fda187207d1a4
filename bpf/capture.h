/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_CAPTURE_H
#define TIERCEL_CAPTURE_H

#include "compiler.h"
#include "maps.h"
#include "read.h"

/* What the kernel's own hooks have seen of the system call that a thread is in.
 *
 * At its return, a call is looked at once more: the file behind a descriptor, names and addresses in the caller's memory.
 * Another thread may have exchanged all of these meanwhile. Where the kernel decides, they are its own objects, which
 * nobody can exchange. So small programs there (hooks.c) write down which ones these are, and the programs at the return
 * compare (files), or tell these instead of what they would find (names, addresses).
 *
 * Both maps are storages of the thread (BPF_MAP_TYPE_TASK_STORAGE; the loader makes them so): nobody else can fill them up.
 * What was captured of files and sockets stays until the next call, since to make a storage and to free it takes longer than
 * all else. That of names is larger, and there until the call returns. */

/* The loader replaces these numbers by the maps. */
#define SUBJECTS 0x7fff0004
#define NAMES 0x7fff0005

#define NO_CALL 0xffffffff
#define MOST_FILES 3 /* a file system may open further files for the one that it opens, as overlayfs does */

/* The pointers are never followed blindly: the object may be gone, and another one be in its place. */
struct captured_file {
	const char *file;
	const char *mount; /* struct mount */
	const char *dentry;
	const char *inode;
	u64 number; /* of the inode, on that device */
	u32 device;
	u32 flags; /* f_flags */
	u32 mode;  /* f_mode */
	u32 padding;
};

/* A folder and a name in it; or a place alone, where a mount begins. */
struct captured_name {
	const char *mount; /* struct mount; NULL: nothing is captured */
	const char *dentry;
	u64 number; /* of the folder's inode, on that device */
	u32 device;
	u32 length; /* of the name; 0: the place alone */
	char last[256];
};

struct captured_socket {
	const char *socket; /* struct socket */
	u64 inode;
	u16 family;
	u16 type;
	u16 protocol;
	u16 length; /* of the address */
	u8 address[128];
};

struct captured_device {
	u32 device; /* 0: none is captured */
	char name[32];
	u32 padding;
};

struct captured_subject {
	u32 call;  /* the number of the call, as the caller makes it; NO_CALL: nothing is captured */
	u32 ring;  /* 1: the call is an operation of a ring that has begun in this thread (rings.h) */
	u32 count; /* of files, or sockets */
	u32 padding;
	union {
		struct captured_file file[MOST_FILES];
		struct captured_socket socket;
	};
};

struct captured_names {
	u32 call; /* these two as above */
	u32 ring;
	struct captured_name name[2];
	struct captured_device device;
};

BPF_ARRAY(captured_subjects, struct captured_subject, 1);
BPF_ARRAY(captured_names, struct captured_names, 1);

#ifdef HOOKS
static void *(*task_storage_get)(void *map, void *task, void *value, u64 flags) = (void *)156;
static long (*task_storage_delete)(void *map, void *task) = (void *)157;
#define STORAGE_CREATE 1 /* BPF_LOCAL_STORAGE_GET_F_CREATE */
#define CAPTURED(map, flags) task_storage_get((void *)bpf_pseudo_fd(1, map), current_task_btf(), NULL, flags)
#define FORGET(map) task_storage_delete((void *)bpf_pseudo_fd(1, map), current_task_btf())
#endif

#define PF_IO_WORKER 0x10

/* Whether the thread may do operations of a ring now; `task` comes from OBJECT(). */
static __always_inline u32 may_use_rings(const char *task)
{
#ifdef RINGS
	return MEMBER_POINTER(task, TASK_IO_URING) || (MEMBER(u32, task, TASK_FLAGS) & PF_IO_WORKER);
#else
	return 0;
#endif
}

/* Whether another thread has the same table of descriptors; `task` comes from OBJECT(). Nobody else can exchange what is
 * behind a descriptor of this thread. */
static __always_inline u32 shares_descriptors(const char *task)
{
	return READ(u32, MEMBER_POINTER(task, TASK_FILES), FILES_COUNT) > 1;
}

#endif
