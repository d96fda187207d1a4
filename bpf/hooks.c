// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Programs at the kernel's own hooks, where it decides about files, names, mounts and sockets (capture.h). Each is at the
 * LSM hook, or at the return of the function security_…, of the name that the loader gives it (loading/hooks.py); the
 * arguments are the same. They decide nothing: the answer is always 0. */

#ifdef HOOKS

#include "capture.h"
#include "path.h"
#include "registers.h"
#include "socket.h"

struct hook_context {
	u64 argument[6];
};

#define ARGUMENT(index) ((const char *)ctx->argument[index])

/* The number of the thread's call, as the caller makes it, if `what` (CAPTURES_…) is to be captured of it; else NO_CALL. */
static __always_inline u32 call_to_capture(u32 what)
{
	const char *regs = task_registers(current_task_btf());
	u32 number = CALL_NUMBER(READ(u32, regs, REGS_NUMBER));
	struct plan *plan = plan_of(number);

	if (plan && is_compat(regs))
		plan = plan_of(plan->compat); /* of socketcall: the one for all of its operations */
	return plan && (plan->hooks & what) ? number : NO_CALL;
}

static __always_inline u32 device_of(const char *inode)
{
	return READ(u32, READ_POINTER(inode, INODE_SB), SUPER_DEV);
}

/* The storage for a file or socket of the thread's call; NULL if it isn't to be captured. Nobody can exchange what is
 * behind a descriptor of a thread that shares none, but everybody may see to it that an address changes. */
static __always_inline struct captured_subject *capture_subject(u32 what)
{
	const char *task = OBJECT(bpf_get_current_task());
	if (may_use_rings(task)) {
		struct captured_subject *captured = CAPTURED(SUBJECTS, 0);
		if (captured && captured->ring)
			return captured;
	}
	u32 number = what != CAPTURES_FILE || shares_descriptors(task) ? call_to_capture(what) : NO_CALL;
	if (number == NO_CALL)
		return NULL;
	struct captured_subject *captured = CAPTURED(SUBJECTS, STORAGE_CREATE);
	if (captured && captured->call != number) {
		captured->call = number;
		captured->count = 0;
	}
	return captured;
}

/* file_open(file) */
int on_file_open(struct hook_context *ctx)
{
	const char *file = ARGUMENT(0);
	struct captured_subject *captured = capture_subject(CAPTURES_FILE);
	if (!captured)
		return 0;
	u32 count = READ_ONCE(captured->count);
	if (count >= MOST_FILES)
		return 0;
	struct captured_file *one = &captured->file[count];
	struct open_file open = open_file(file);
	one->file = file;
	one->mount = open.mount;
	one->dentry = open.dentry;
	one->inode = open.inode;
	one->flags = open.flags;
	one->mode = open.mode;
	one->number = READ(u64, open.inode, INODE_INO);
	one->device = device_of(open.inode);
	captured->count = count + 1;
	return 0;
}

/* The same for names. */
static __always_inline struct captured_names *capture_names(void)
{
	if (may_use_rings(OBJECT(bpf_get_current_task()))) {
		struct captured_names *captured = CAPTURED(NAMES, 0);
		if (captured && captured->ring)
			return captured;
	}
	u32 number = call_to_capture(CAPTURES_NAMES);
	if (number == NO_CALL)
		return NULL;
	struct captured_names *captured = CAPTURED(NAMES, STORAGE_CREATE);
	if (captured)
		captured->call = number;
	return captured;
}

/* The name of `dentry` in the folder `folder`. */
static __always_inline void capture_name(struct captured_names *captured, u32 slot, const char *vfsmount,
					 const char *folder, const char *dentry)
{
	struct captured_name *name = &captured->name[slot];
	const char *inode = READ_POINTER(folder, DENTRY_INODE);

	name->mount = vfsmount - MOUNT_MNT;
	name->dentry = folder;
	name->number = READ(u64, inode, INODE_INO);
	name->device = device_of(inode);
	name->length = 0;
	if (!dentry)
		return;
	long length = bpf_probe_read_kernel_str(name->last, sizeof(name->last), READ_POINTER(dentry, DENTRY_NAME));
	name->length = length > 0 ? length - 1 : 0;
}

/* The same for an object that is there already, by its place. */
static __always_inline void capture_place(struct captured_names *captured, u32 slot, const char *vfsmount,
					  const char *dentry)
{
	if (READ_POINTER(vfsmount, VFSMOUNT_ROOT) == dentry)
		capture_name(captured, slot, vfsmount, dentry, NULL);
	else
		capture_name(captured, slot, vfsmount, READ_POINTER(dentry, DENTRY_PARENT), dentry);
}

static __always_inline int captured_path(u32 slot, const char *path)
{
	struct captured_names *captured = capture_names();
	if (captured)
		capture_place(captured, slot, READ_POINTER(path, PATH_MNT), READ_POINTER(path, PATH_DENTRY));
	return 0;
}

static __always_inline int captured_entry(u32 slot, const char *path, const char *dentry)
{
	struct captured_names *captured = capture_names();
	if (captured)
		capture_name(captured, slot, READ_POINTER(path, PATH_MNT), READ_POINTER(path, PATH_DENTRY), dentry);
	return 0;
}

/* path_mkdir, path_mknod, path_rmdir, path_unlink(folder, dentry, …) */
int on_path_mkdir(struct hook_context *ctx)
{
	return captured_entry(0, ARGUMENT(0), ARGUMENT(1));
}

int on_path_mknod(struct hook_context *ctx)
{
	return captured_entry(0, ARGUMENT(0), ARGUMENT(1));
}

int on_path_rmdir(struct hook_context *ctx)
{
	return captured_entry(0, ARGUMENT(0), ARGUMENT(1));
}

int on_path_unlink(struct hook_context *ctx)
{
	return captured_entry(0, ARGUMENT(0), ARGUMENT(1));
}

/* path_symlink(folder, dentry, text): the first path of the call is the text */
int on_path_symlink(struct hook_context *ctx)
{
	return captured_entry(1, ARGUMENT(0), ARGUMENT(1));
}

/* path_link(old dentry, new folder, new dentry): both are of one mount */
int on_path_link(struct hook_context *ctx)
{
	const char *folder = ARGUMENT(1);
	struct captured_names *captured = capture_names();
	if (!captured)
		return 0;
	capture_place(captured, 0, READ_POINTER(folder, PATH_MNT), ARGUMENT(0));
	capture_name(captured, 1, READ_POINTER(folder, PATH_MNT), READ_POINTER(folder, PATH_DENTRY), ARGUMENT(2));
	return 0;
}

/* path_rename(old folder, old dentry, new folder, new dentry, flags) */
int on_path_rename(struct hook_context *ctx)
{
	const char *from = ARGUMENT(0), *to = ARGUMENT(2);
	struct captured_names *captured = capture_names();
	if (!captured)
		return 0;
	capture_name(captured, 0, READ_POINTER(from, PATH_MNT), READ_POINTER(from, PATH_DENTRY), ARGUMENT(1));
	capture_name(captured, 1, READ_POINTER(to, PATH_MNT), READ_POINTER(to, PATH_DENTRY), ARGUMENT(3));
	return 0;
}

/* path_chmod, path_chown, path_truncate, path_chroot(path, …) */
int on_path_chmod(struct hook_context *ctx)
{
	return captured_path(0, ARGUMENT(0));
}

int on_path_chown(struct hook_context *ctx)
{
	return captured_path(0, ARGUMENT(0));
}

int on_path_truncate(struct hook_context *ctx)
{
	return captured_path(0, ARGUMENT(0));
}

int on_path_chroot(struct hook_context *ctx)
{
	return captured_path(0, ARGUMENT(0));
}

/* sb_mount(source, path, type, flags, data) */
int on_sb_mount(struct hook_context *ctx)
{
	return captured_path(1, ARGUMENT(1));
}

/* move_mount(from, to) */
int on_move_mount(struct hook_context *ctx)
{
	const char *from = ARGUMENT(0), *to = ARGUMENT(1);
	struct captured_names *captured = capture_names();
	if (!captured)
		return 0;
	capture_place(captured, 0, READ_POINTER(from, PATH_MNT), READ_POINTER(from, PATH_DENTRY));
	capture_place(captured, 1, READ_POINTER(to, PATH_MNT), READ_POINTER(to, PATH_DENTRY));
	return 0;
}

/* sb_umount(mount, flags) */
int on_sb_umount(struct hook_context *ctx)
{
	const char *mount = ARGUMENT(0);
	struct captured_names *captured = capture_names();
	if (captured)
		capture_place(captured, 0, mount, READ_POINTER(mount, VFSMOUNT_ROOT));
	return 0;
}

/* sb_pivotroot(old place, new place): the call has them the other way round */
int on_sb_pivotroot(struct hook_context *ctx)
{
	const char *put_old = ARGUMENT(0), *new_root = ARGUMENT(1);
	struct captured_names *captured = capture_names();
	if (!captured)
		return 0;
	capture_place(captured, 0, READ_POINTER(new_root, PATH_MNT), READ_POINTER(new_root, PATH_DENTRY));
	capture_place(captured, 1, READ_POINTER(put_old, PATH_MNT), READ_POINTER(put_old, PATH_DENTRY));
	return 0;
}

/* sb_set_mnt_opts(super block, …): of mount and of fsconfig, which makes what fsmount mounts */
int on_sb_set_mnt_opts(struct hook_context *ctx)
{
	const char *super = ARGUMENT(0);
	struct captured_names *captured = READ_POINTER(super, SUPER_BDEV) ? capture_names() : NULL;
	if (!captured)
		return 0;
	captured->device.device = READ(u32, super, SUPER_DEV);
	bpf_probe_read_kernel_str(captured->device.name, sizeof(captured->device.name), super + SUPER_ID);
	return 0;
}

/* socket_connect, socket_bind(socket, address, length): the kernel's own copy of the address */
static __always_inline int captured_socket(const char *socket, const char *address, u64 length)
{
	struct captured_subject *captured = capture_subject(CAPTURES_SOCKET);
	if (!captured)
		return 0;
	struct captured_socket *one = &captured->socket;
	const char *sock = READ_POINTER(socket, SOCKET_SK);
	u32 size = length > sizeof(one->address) ? sizeof(one->address) : length;

	barrier_var(size);
	if (size > sizeof(one->address))
		return 0;
	captured->count = 1;
	one->socket = socket;
	one->inode = READ(u64, READ_POINTER(READ_POINTER(socket, SOCKET_FILE), FILE_INODE), INODE_INO);
	one->family = READ(u16, sock, SOCK_FAMILY);
	one->type = READ(u16, sock, SOCK_TYPE);
	one->protocol = READ(u16, sock, SOCK_PROTOCOL);
	one->length = size;
	bpf_probe_read_kernel(one->address, size, address);
	return 0;
}

int on_socket_connect(struct hook_context *ctx)
{
	return captured_socket(ARGUMENT(0), ARGUMENT(1), ctx->argument[2]);
}

int on_socket_bind(struct hook_context *ctx)
{
	return captured_socket(ARGUMENT(0), ARGUMENT(1), ctx->argument[2]);
}

#endif
