// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Control groups that are made and removed, in every hierarchy, so that a container is known before its first process
 * runs. If the ring is full, the record is dropped: user space then learns of the group from the first event in it. */

#include "maps.h"
#include "read.h"

static __always_inline int record_cgroup(struct bpf_raw_tracepoint_args *ctx, u16 type)
{
#if defined(CGROUP_KN) && defined(CGROUP_ROOT)
	const char *cgroup = (const char *)ctx->args[0];
	struct cgroup_record *record = cgroups.ringbuf_reserve(sizeof(*record));
	if (!record)
		return 0;
	record->length = sizeof(*record);
	record->type = type;
	record->flags = 0;
	record->hierarchy = READ(u32, READ_POINTER(cgroup, CGROUP_ROOT), CGROUP_ROOT_HIERARCHY);
	record->id = READ(u64, READ_POINTER(cgroup, CGROUP_KN), KERNFS_ID);
	long length = bpf_probe_read_kernel_str(record->path, sizeof(record->path), (const void *)ctx->args[1]);
	record->path_length = length > 0 ? length - 1 : 0;
	cgroups.ringbuf_submit(record, 0);
#endif
	return 0;
}

/* cgroup_mkdir(cgroup, path): the group is there, and no process is in it yet */
int cgroup_made(struct bpf_raw_tracepoint_args *ctx)
{
	return record_cgroup(ctx, RECORD_CGROUP_MADE);
}

/* cgroup_rmdir(cgroup, path): the last process has left the group */
int cgroup_gone(struct bpf_raw_tracepoint_args *ctx)
{
	return record_cgroup(ctx, RECORD_CGROUP_REMOVED);
}
