// One load, so many rounds of it: prints the nanoseconds that a round takes.
//
//     rounds LOAD COUNT FOLDER
//
// Before the clock starts there are rounds from which the agent learns what it can rule out.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char file[4096], missing[4096];
static int opened;
static struct sockaddr_in closed_port = {.sin_family = AF_INET};
static long counter;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void getppid_(void)
{
	syscall(SYS_getppid);
}

static void open_(void)
{
	int fd = open(file, O_RDONLY);
	if (fd < 0)
		fail(file);
	close(fd);
}

static void new_name(void)
{
	char path[sizeof missing + 32];
	snprintf(path, sizeof path, "%s/%ld", missing, counter++);
	open(path, O_RDONLY);
}

static void stat_(void)
{
	struct stat found;
	if (stat(file, &found))
		fail(file);
}

static void read_write(void)
{
	char byte = 'x';
	if (pwrite(opened, &byte, 1, 0) != 1 || pread(opened, &byte, 1, 0) != 1)
		fail(file);
}

static void connect_(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		fail("socket");
	if (connect(fd, (struct sockaddr *)&closed_port, sizeof closed_port) == 0 || errno != ECONNREFUSED)
		fail("connect to a closed port");
	close(fd);
}

static void exec_(void)
{
	pid_t child = fork();
	int status;
	if (child < 0)
		fail("fork");
	if (child == 0) {
		execl("/bin/true", "true", NULL);
		_exit(127);
	}
	if (waitpid(child, &status, 0) < 0 || status != 0)
		fail("/bin/true");
}

static const struct load {
	const char *name;
	void (*round)(void);
} loads[] = {
	{"getppid", getppid_},       {"open", open_},       {"new-name", new_name}, {"stat", stat_},
	{"read-write", read_write}, {"connect", connect_}, {"exec", exec_},
};

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char *words[])
{
	const struct load *load = NULL;
	struct timespec pause = {.tv_nsec = 300000000};
	long rounds;

	for (size_t i = 0; count == 4 && i < sizeof loads / sizeof *loads; i++)
		if (strcmp(loads[i].name, words[1]) == 0)
			load = &loads[i];
	if (!load || (rounds = atol(words[2])) <= 0)
		return fprintf(stderr, "usage: rounds LOAD COUNT FOLDER\n"), 2;
	snprintf(file, sizeof file, "%s/file", words[3]);
	snprintf(missing, sizeof missing, "%s/missing", words[3]);
	if ((opened = open(file, O_RDWR | O_CREAT, 0644)) < 0 || write(opened, "x", 1) != 1)
		fail(file);
	socklen_t size = sizeof closed_port;
	closed_port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int bound = socket(AF_INET, SOCK_STREAM, 0); // a port that nobody listens on, and nobody takes
	if (bound < 0 || bind(bound, (struct sockaddr *)&closed_port, size) ||
	    getsockname(bound, (struct sockaddr *)&closed_port, &size))
		fail("bind");
	for (int turn = 0; turn < 6; turn++) {
		for (int i = 0; i < 20; i++)
			load->round();
		nanosleep(&pause, NULL);
	}
	long long begin = now();
	for (long i = 0; i < rounds; i++)
		load->round();
	printf("%.1f\n", (double)(now() - begin) / rounds);
	return 0;
}
