/* Does one thing by io_uring, without the system call for it, and ends.
 * by_ring OPERATION WHERE HOW…: WHERE is inline, worker, slot or poll (a thread of the kernel reads the ring). */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	const char *operation = argv[1], *where = argv[2], *path = argv[3];
	struct io_uring_params params = {};
	struct sockaddr_in address = {.sin_family = AF_INET};

	if (!strcmp(where, "poll"))
		params.flags = IORING_SETUP_SQPOLL;
	int ring = syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0)
		return errno == ENOSYS || errno == EPERM ? 77 : fail("io_uring_setup");
	size_t size = params.sq_off.array + params.sq_entries * 4;
	size_t answers = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	char *queue = mmap(0, size > answers ? size : answers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
			   IORING_OFF_SQ_RING);
	struct io_uring_sqe *request = mmap(0, params.sq_entries * sizeof(*request), PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	if (queue == MAP_FAILED || request == MAP_FAILED)
		return fail("mmap");
	memset(request, 0, sizeof(*request));
	request->fd = AT_FDCWD;
	request->addr = (unsigned long)path;
	if (!strcmp(operation, "open")) {
		request->opcode = IORING_OP_OPENAT;
		request->open_flags = O_RDONLY;
	} else if (!strcmp(operation, "unlink")) {
		request->opcode = IORING_OP_UNLINKAT;
	} else if (!strcmp(operation, "mkdir")) {
		request->opcode = IORING_OP_MKDIRAT;
		request->len = 0700;
	} else if (!strcmp(operation, "connect")) {
		address.sin_port = htons(atoi(path));
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		request->opcode = IORING_OP_CONNECT;
		request->fd = socket(AF_INET, SOCK_STREAM, 0);
		request->addr = (unsigned long)&address;
		request->off = sizeof(address);
	} else { /* of two names: argv[4] is the other one */
		request->opcode = !strcmp(operation, "rename")    ? IORING_OP_RENAMEAT
				  : !strcmp(operation, "symlink") ? IORING_OP_SYMLINKAT
								  : IORING_OP_LINKAT;
		request->addr = (unsigned long)argv[4];
		request->addr2 = (unsigned long)path;
		request->len = strcmp(operation, "symlink") ? AT_FDCWD : 0;
	}
	if (!strcmp(where, "worker"))
		request->flags = IOSQE_ASYNC;
	if (!strcmp(where, "slot")) {
		int none[] = {-1, -1};
		if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, 2))
			return fail("io_uring_register");
		request->file_index = 1;
	}
	((unsigned *)(queue + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	unsigned wakes = strcmp(where, "poll") ? 0 : IORING_ENTER_SQ_WAKEUP; /* that thread sleeps after a second */
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS | wakes, NULL, 0) < 0)
		return fail("io_uring_enter");
	while (__atomic_load_n((unsigned *)(queue + params.cq_off.tail), __ATOMIC_ACQUIRE) == 0)
		;
	int result = ((struct io_uring_cqe *)(queue + params.cq_off.cqes))->res;
	printf("%d\n", result);
	return result < 0 && strcmp(operation, "connect");
}
