/* What a process executes: arguments, environment, executable. */

/* Sends the image of the current process, whose header is already filled in. `bprm` is NULL for one that has been
 * running: what only exec knows is then missing. */
static __always_inline void send_image(struct record *record, u16 flags, const char *bprm)
{
	const char *task = (const char *)bpf_get_current_task();
	const char *mm = READ_POINTER(task, TASK_MM);
	u32 pid = record->header.self.pid;
	if (!mm)
		return;
	const char *file = READ_POINTER(mm, MM_EXE_FILE);
	u64 start = READ(u64, mm, MM_ARG_START);

	record->header.type = RECORD_EXEC;
	record->header.flags |= flags;
	record->header.result = 0;
	section_user_bytes(record, SECTION_ARGS, start, READ(u64, mm, MM_ARG_END) - start, PIECE);
#ifdef WANT_ENV
	start = READ(u64, mm, MM_ENV_START);
	section_user_bytes(record, SECTION_ENV, start, READ(u64, mm, MM_ENV_END) - start, PIECE);
#endif
	if (file) {
		section_file_facts(record, SECTION_EXE, file, 0);
		want_path(record, SECTION_EXE_PATH, file + FILE_PATH);
	}
	if (bprm)
		section_kernel_string(record, SECTION_FILENAME, READ_POINTER(bprm, BPRM_FILENAME), 0);
	want_base(record, SECTION_CWD, AT_FDCWD);

	u32 size = finish(record);
	if (processes.ringbuf_output(record, size, 0) == 0) {
		if (flags & FLAG_AGAIN)
			undelivered.delete(&pid);
	} else {
		u8 one = 1;
		count(LOST_PROCESSES);
		undelivered.update(&pid, &one);
	}
}
