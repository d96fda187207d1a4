/* Control groups as they come and go, in every hierarchy: a container is known before its first process runs. A record
 * that finds the ring full is left out: user space then learns of the group from the first event in it. */

static __always_inline int tell_cgroup(struct bpf_raw_tracepoint_args *ctx, u16 type)
{
#if defined(CGROUP_KN) && defined(CGROUP_ROOT)
	const char *cgroup = (const char *)ctx->args[0];
	struct cgroup_record *told = cgroups.ringbuf_reserve(sizeof(*told));
	if (!told)
		return 0;
	told->length = sizeof(*told);
	told->type = type;
	told->flags = 0;
	told->hierarchy = READ(u32, READ_POINTER(cgroup, CGROUP_ROOT), CGROUP_ROOT_HIERARCHY);
	told->id = READ(u64, READ_POINTER(cgroup, CGROUP_KN), KERNFS_ID);
	long length = bpf_probe_read_kernel_str(told->path, sizeof(told->path), (const void *)ctx->args[1]);
	told->path_length = length > 0 ? length - 1 : 0;
	cgroups.ringbuf_submit(told, 0);
#endif
	return 0;
}

/* cgroup_mkdir(cgroup, path): it is there, and no process is in it yet */
int on_cgroup_made(struct bpf_raw_tracepoint_args *ctx)
{
	return tell_cgroup(ctx, RECORD_CGROUP_MADE);
}

/* cgroup_rmdir(cgroup, path): the last process has left it */
int on_cgroup_removed(struct bpf_raw_tracepoint_args *ctx)
{
	return tell_cgroup(ctx, RECORD_CGROUP_REMOVED);
}
