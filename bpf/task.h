/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_TASK_H
#define TIERCEL_TASK_H

#include "read.h"
#include "scratch.h"
#include "sections.h"

/* The calling process, read from its task_struct. */

static __always_inline void read_process(struct process *process, const char *task)
{
	const char *leader = READ_POINTER(task, TASK_GROUP_LEADER);
	process->pid = READ(u32, task, TASK_TGID);
	process->execs = READ(u32, task, TASK_SELF_EXEC_ID);
	process->start = READ(u64, leader, TASK_START_BOOTTIME);
	bpf_probe_read_kernel(process->comm, sizeof(process->comm), leader + TASK_COMM);
}

/* The number of a struct pid in its innermost namespace. */
static __always_inline u32 virtual_number(const char *pid)
{
	if (!pid)
		return 0;
	u32 level = READ(u32, pid, PID_LEVEL) & 31;
	return READ_AT(u32, pid + PID_NUMBERS + level * UPID_SIZE + UPID_NR);
}

/* The number of a struct pid in the initial namespace. */
static __always_inline u32 initial_number(const char *pid)
{
	return pid ? READ(u32, pid, PID_NUMBERS + UPID_NR) : 0;
}

static __always_inline u32 namespace_number(const char *namespace, u32 offset)
{
	return namespace ? READ(u32, namespace, offset) : 0;
}

static __always_inline const char *root_directory(const char *task)
{
	return READ_POINTER(READ_POINTER(task, TASK_FS), FS_ROOT + PATH_DENTRY);
}

/* Whether a process has another root directory than the machine's first process, which the initial PID namespace has as
 * its reaper. Folders are compared, and not mounts: a service with mounts of its own has the machine's root too. */
static __always_inline u32 has_other_root(const char *task, const char *pid)
{
	const char *initial = (const char *)READ_AT(u64, pid + PID_NUMBERS + UPID_NS);
	const char *first = root_directory(READ_POINTER(initial, PID_NS_CHILD_REAPER));
	const char *own = root_directory(task);
	return first && own && first != own;
}

/* The device number of the controlling terminal; 0 if there is none. */
static __always_inline u32 terminal(const char *signal)
{
	const char *tty = READ_POINTER(signal, SIGNAL_TTY);
	if (!tty)
		return 0;
	const char *driver = READ_POINTER(tty, TTY_DRIVER);
	u32 major = READ(u32, driver, DRIVER_MAJOR);
	u32 minor = READ(u32, driver, DRIVER_MINOR) + READ(u32, tty, TTY_INDEX);
	/* as new_encode_dev of the kernel does it, whose result /proc/PID/stat shows */
	return (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
}

/* Reads the parent of a process, by its first thread, and returns the parent's first thread; NULL if it has none. */
static __always_inline const char *read_parent(struct header *header, struct process *process, const char *leader)
{
	const char *parent = READ_POINTER(leader, TASK_REAL_PARENT);
	process->pid = 0;
	if (!parent || parent == leader)
		return NULL;
	read_process(process, parent);
	if (process->pid == 0) /* the idle task, parent of init */
		return NULL;
	if (READ(u32, READ_POINTER(parent, TASK_SIGNAL), SIGNAL_LIVE) == 0)
		header->flags |= FLAG_LINEAGE_ENDS;
	return READ_POINTER(parent, TASK_GROUP_LEADER);
}

/* Reads the first ancestors into the header; record->lineage is the last of them, if there may be more. */
static __always_inline void read_ancestors(struct record *record, const char *task)
{
	const char *leader = READ_POINTER(task, TASK_GROUP_LEADER);
	struct header *header = &record->header;
#pragma clang loop unroll(disable)
	for (int i = 0; i < ANCESTORS; i++) {
		leader = read_parent(header, &header->ancestors[i], leader);
		if (!leader)
			break;
	}
	record->lineage = leader;
}

/* Adds the ancestors beyond those of the header, if there are any. */
static __always_inline void section_ancestors(struct record *record)
{
	u8 *payload = record->lineage ? section_payload(record) : NULL;
	if (!payload)
		return;
	record->depth = 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MORE_ANCESTORS; i++) {
		barrier_var(i);
		u32 at = (READ_ONCE(record->depth) & 63) * sizeof(struct process);
		record->lineage = read_parent(&record->header, (struct process *)(payload + at), READ_ONCE(record->lineage));
		if (!READ_ONCE(record->lineage))
			break;
		record->depth++;
	}
	if (record->depth)
		section_end(record, SECTION_ANCESTORS, record->depth * sizeof(struct process), record->lineage != NULL);
}

/* Fills in everything of the header that does not depend on the system call. */
static __always_inline void read_task(struct record *record, const char *task)
{
	struct header *header = &record->header;
	const char *cred = READ_POINTER(task, TASK_CRED);
	const char *signal = READ_POINTER(task, TASK_SIGNAL);
	const char *nsproxy = READ_POINTER(task, TASK_NSPROXY);

	record->length = 0;
	record->pending = 0;
	record->walked = 0;
	record->rounds = 0;
	header->flags = 0;
	header->time = bpf_ktime_get_boot_ns();
	header->cgroup = bpf_get_current_cgroup_id();
	header->cap_permitted = READ(u64, cred, CRED_CAP_PERMITTED);
	header->cap_effective = READ(u64, cred, CRED_CAP_EFFECTIVE);
	header->cap_inheritable = READ(u64, cred, CRED_CAP_INHERITABLE);
	header->uid = READ(u32, cred, CRED_EUID);
	header->gid = READ(u32, cred, CRED_EGID);
#ifdef TASK_LOGINUID
	header->loginuid = READ(u32, task, TASK_LOGINUID);
	header->session = READ(u32, task, TASK_SESSIONID);
#else
	header->loginuid = -1;
	header->session = -1;
#endif
	header->tid = READ(u32, task, TASK_PID);
	header->tty = terminal(signal);

	const char *group = READ_POINTER(signal, SIGNAL_PIDS + 2 * 8);   /* PIDTYPE_PGID */
	const char *session = READ_POINTER(signal, SIGNAL_PIDS + 3 * 8); /* PIDTYPE_SID */
	const char *pid = READ_POINTER(signal, SIGNAL_PIDS + 1 * 8);     /* PIDTYPE_TGID */
	header->pgid = initial_number(group);
	header->sid = initial_number(session);
	header->vtid = virtual_number(READ_POINTER(task, TASK_THREAD_PID));
	header->vpid = virtual_number(pid);
	header->vpgid = virtual_number(group);
	header->vsid = virtual_number(session);
	header->mount_ns = header->net_ns = header->pid_ns = 0;
	if (nsproxy) {
		header->mount_ns = namespace_number(READ_POINTER(nsproxy, NSPROXY_MNT), MNT_NS_INUM);
		header->net_ns = namespace_number(READ_POINTER(nsproxy, NSPROXY_NET), NET_NS_INUM);
	}
	if (pid) {
		u32 level = READ(u32, pid, PID_LEVEL) & 31;
		const char *namespace = (const char *)READ_AT(u64, pid + PID_NUMBERS + level * UPID_SIZE + UPID_NS);
		header->pid_ns = namespace_number(namespace, PID_NS_INUM);
		if (level && has_other_root(task, pid))
			header->flags |= FLAG_OTHER_ROOT;
	}
	header->user_ns = namespace_number(READ_POINTER(cred, CRED_USER_NS), USER_NS_INUM);
	bpf_probe_read_kernel(header->comm, sizeof(header->comm), task + TASK_COMM);
	read_process(&header->self, task);
	read_ancestors(record, task);
}

#endif
