/* Makes one call in a folder that is named by a magic link of /proc, and ends at once.
 * by_magic_link CALL HOW FOLDER NAME [OLD]; HOW is plain, cwd, root, thread, fd (of the folder) or itself (the file's). */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *call = argv[1], *how = argv[2], *folder = argv[3], *name = argv[4], *old = argv[5];
	char path[4096];
	long failed = 1;

	if (!strcmp(how, "plain")) {
		snprintf(path, sizeof(path), "%s/%s", folder, name);
	} else if (!strcmp(how, "cwd")) {
		chdir(folder);
		snprintf(path, sizeof(path), "/proc/self/cwd/%s", name);
	} else if (!strcmp(how, "root")) {
		snprintf(path, sizeof(path), "/proc/self/root%s/%s", folder, name);
	} else if (!strcmp(how, "thread")) {
		snprintf(path, sizeof(path), "/proc/self/task/%ld/root%s/%s", (long)syscall(SYS_gettid), folder, name);
	} else if (!strcmp(how, "fd")) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", open(folder, O_RDONLY), name);
	} else {
		snprintf(path, sizeof(path), "%s/%s", folder, name);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", open(path, O_PATH));
	}
	if (!strcmp(call, "mkdir"))
		failed = syscall(SYS_mkdirat, AT_FDCWD, path, 0700);
	else if (!strcmp(call, "symlink"))
		failed = syscall(SYS_symlinkat, "anything", AT_FDCWD, path);
	else if (!strcmp(call, "rename"))
		failed = syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, path, 0);
	else if (!strcmp(call, "link"))
		failed = syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, path, 0);
	else if (!strcmp(call, "unlink"))
		failed = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	else if (!strcmp(call, "rmdir"))
		failed = syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
	else if (!strcmp(call, "mknod"))
		failed = syscall(SYS_mknodat, AT_FDCWD, path, S_IFIFO | 0600, 0);
	else if (!strcmp(call, "chmod"))
		failed = syscall(SYS_fchmodat, AT_FDCWD, path, 0600);
	else if (!strcmp(call, "chown"))
		failed = syscall(SYS_fchownat, AT_FDCWD, path, 0, 0, 0);
	else if (!strcmp(call, "truncate"))
		failed = syscall(SYS_truncate, path, 1L);
	_exit(failed != 0);
}
