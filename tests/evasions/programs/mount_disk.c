/* Mounts a disk that is mounted already, and unmounts it again. mount_disk DISK TYPE FOLDER [new]; with `new` by the calls
 * fsopen, fsconfig, fsmount and move_mount. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	const char *disk = argv[1], *type = argv[2], *folder = argv[3];

	if (argc == 4) {
		if (mount(disk, folder, type, 0, NULL))
			return fail("mount");
	} else {
		int system = syscall(SYS_fsopen, type, 0);
		if (system < 0 || syscall(SYS_fsconfig, system, 1 /* string */, "source", disk, 0) ||
		    syscall(SYS_fsconfig, system, 6 /* create */, NULL, NULL, 0))
			return fail("fsconfig");
		int tree = syscall(SYS_fsmount, system, 0, 0);
		if (tree < 0 || syscall(SYS_move_mount, tree, "", AT_FDCWD, folder, 4 /* the descriptor itself */))
			return fail("move_mount");
	}
	return umount2(folder, MNT_DETACH) ? fail("umount") : 0;
}
