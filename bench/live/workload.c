// The work that is watched. Prints what it did as one line of JSON.
//
//     workload LOAD SECONDS FOLDER        a load: its rounds, the seconds they took, the system calls they made
//     workload plant COUNT MILLISECONDS PATH
//                                         opens PATH, or PATH/0, PATH/1, … if it ends in a slash, so often and so far
//                                         apart, and prints the CLOCK_MONOTONIC ns right before each open
//     workload calls COMMAND...           the number of system calls that a command and its children make
//     workload rounds LOAD COUNT FOLDER   the nanoseconds that each of so many rounds takes; before the clock starts there
//                                         are some from which who watches learns what it can rule out
//
// FOLDER holds what the loads open: file, mix0 … mix7, program.c.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MIXED_FILES 8

static char file[4096], program[4096], object[4096], mixed[MIXED_FILES][4096], missing[4096];
static struct sockaddr_in closed_port = {.sin_family = AF_INET};
static int pipe_ends[2];
static long counter;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

static void sleep_until(long long moment)
{
	struct timespec time = {.tv_sec = moment / SECOND, .tv_nsec = moment % SECOND};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
		;
}

static void join(char *path, const char *folder, const char *name)
{
	if (snprintf(path, sizeof file, "%s/%s", folder, name) >= (int)sizeof file) {
		errno = ENAMETOOLONG;
		fail(folder);
	}
}

// One round of each load. Each returns the number of system calls it made; a command's own are not among them.

static int open_and_close(void)
{
	int fd = open(file, O_RDONLY);
	if (fd < 0)
		fail(file);
	close(fd);
	return 2;
}

static int ask_for_parent(void)
{
	syscall(SYS_getppid);
	return 1;
}

static int write_and_read(void)
{
	static int fd = -1;
	char byte = 'x';
	if (fd < 0 && (fd = open(file, O_RDWR)) < 0)
		fail(file);
	if (pwrite(fd, &byte, 1, 0) != 1 || pread(fd, &byte, 1, 0) != 1)
		fail(file);
	return 2;
}

static int look_at_file(void)
{
	struct stat found;
	if (stat(file, &found))
		fail(file);
	return 1;
}

static int ask_for_pid(void)
{
	syscall(SYS_getpid);
	return 1;
}

static int close_nothing(void)
{
	close(-1);
	return 1;
}

static int open_another_name(void)
{
	char path[sizeof missing + 32];
	snprintf(path, sizeof path, "%s/%ld", missing, counter++);
	open(path, O_RDONLY);
	return 1;
}

static int connect_and_close(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		fail("socket");
	if (connect(fd, (struct sockaddr *)&closed_port, sizeof closed_port) == 0 || errno != ECONNREFUSED)
		fail("connect to a closed port");
	close(fd);
	return 3;
}

static int mix(void)
{
	char data[256];
	struct stat found;
	int calls = 0;
	for (int number = 0; number < MIXED_FILES; number++) {
		int fd = open(mixed[number], O_RDONLY);
		if (fd < 0 || read(fd, data, sizeof data) < 0)
			fail(mixed[number]);
		close(fd);
		stat(mixed[number], &found);
		calls += 4;
	}
	for (int number = 0; number < 4; number++) {
		if (write(pipe_ends[1], data, 64) != 64 || read(pipe_ends[0], data, 64) != 64)
			fail("pipe");
		calls += 2;
	}
	return calls + connect_and_close();
}

static int command(char *const words[])
{
	pid_t child = fork();
	int status;
	if (child < 0)
		fail("fork");
	if (child == 0) {
		execvp(words[0], words);
		_exit(127);
	}
	if (waitpid(child, &status, 0) < 0 || status != 0) {
		errno = ECHILD;
		fail(words[0]);
	}
	return 2;
}

static int run_true(void)
{
	return command((char *[]){"/bin/true", NULL});
}

static int compile(void)
{
	return command((char *[]){"cc", "-O2", "-c", program, "-o", object, NULL});
}

struct load {
	const char *name;
	int (*round)(void);
	int batch;   // rounds between two looks at the clock
	int rate;    // rounds a second that are asked for, 0: as many as possible
	int on_all;  // whether each core runs a process of its own
};

static const struct load loads[] = {
	{"open", open_and_close, 64, 0, 0},
	{"open-all", open_and_close, 64, 0, 1},
	{"stat", look_at_file, 64, 0, 0},
	{"getpid", ask_for_pid, 256, 0, 0},
	{"close", close_nothing, 256, 0, 0},
	{"exec", run_true, 1, 0, 0},
	{"connect", connect_and_close, 16, 0, 0},
	{"mix", mix, 4, 0, 0},
	{"open-paced", open_and_close, 20, 100000, 0},
	{"exec-paced", run_true, 1, 100, 0},
	{"compile", compile, 1, 0, 0},
	{"names", open_another_name, 64, 0, 0},
	{"getppid", ask_for_parent, 256, 0, 0},
	{"read-write", write_and_read, 64, 0, 0},
};

struct done {
	long long rounds, calls, nanoseconds;
};

static struct done work(const struct load *load, double seconds)
{
	struct done done = {0};
	long long begin = now(), end = begin + (long long)(seconds * SECOND);
	// Batches start on time even after late ones: what a stall costs is caught up with, if there is time for it.
	for (long long batch = 0; now() < end; batch++) {
		if (load->rate)
			sleep_until(begin + (batch + 1) * load->batch * SECOND / load->rate);
		for (int number = 0; number < load->batch; number++)
			done.calls += load->round();
		done.rounds += load->batch;
		done.calls += load->rate != 0;
	}
	done.nanoseconds = now() - begin;
	return done;
}

static struct done work_on_all(const struct load *load, double seconds)
{
	struct done total = {0}, one;
	int told[2], processes = 0;
	cpu_set_t allowed, chosen;
	if (pipe(told) || sched_getaffinity(0, sizeof allowed, &allowed))
		fail("processes on all cores");
	for (int core = 0; core < CPU_SETSIZE; core++) {
		if (!CPU_ISSET(core, &allowed))
			continue;
		pid_t child = fork();
		if (child < 0)
			fail("fork");
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			CPU_ZERO(&chosen);
			CPU_SET(core, &chosen);
			sched_setaffinity(0, sizeof chosen, &chosen);
			one = work(load, seconds);
			_exit(write(told[1], &one, sizeof one) != sizeof one);
		}
		processes++;
	}
	close(told[1]);
	for (int number = 0; number < processes; number++) {
		if (read(told[0], &one, sizeof one) != sizeof one)
			fail("a process on one of the cores");
		total.rounds += one.rounds;
		total.calls += one.calls;
		if (one.nanoseconds > total.nanoseconds)
			total.nanoseconds = one.nanoseconds;
	}
	while (wait(NULL) > 0)
		;
	return total;
}

static void prepare(const char *folder)
{
	char name[16];
	socklen_t length = sizeof closed_port;
	int bound = socket(AF_INET, SOCK_STREAM, 0);
	join(file, folder, "file");
	join(program, folder, "program.c");
	join(object, folder, "program.o");
	join(missing, folder, "missing");
	for (int number = 0; number < MIXED_FILES; number++) {
		snprintf(name, sizeof name, "mix%d", number);
		join(mixed[number], folder, name);
	}
	// A port that is bound but not listened on is this process's, and refuses connections.
	closed_port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bound < 0 || bind(bound, (struct sockaddr *)&closed_port, sizeof closed_port) ||
	    getsockname(bound, (struct sockaddr *)&closed_port, &length) || pipe(pipe_ends))
		fail("a port and a pipe");
	prctl(PR_SET_TIMERSLACK, 1UL);
}

static const struct load *load_of(const char *name)
{
	for (size_t number = 0; number < sizeof loads / sizeof *loads; number++)
		if (!strcmp(loads[number].name, name))
			return &loads[number];
	fprintf(stderr, "there is no load %s\n", name);
	exit(2);
}

static int run_load(const char *name, double seconds, const char *folder)
{
	const struct load *load = load_of(name);
	prepare(folder);
	struct done done = load->on_all ? work_on_all(load, seconds) : work(load, seconds);
	printf("{\"rounds\": %lld, \"seconds\": %.9f, \"calls\": %lld, \"asked\": %d}\n", done.rounds,
	       (double)done.nanoseconds / SECOND, done.calls, load->rate);
	return 0;
}

static int run_rounds(const char *name, long count, const char *folder)
{
	const struct load *load = load_of(name);
	prepare(folder);
	for (int turn = 0; turn < 6; turn++) {
		for (int round = 0; round < 20; round++)
			load->round();
		sleep_until(now() + SECOND * 3 / 10);
	}
	long long begin = now();
	for (long round = 0; round < count; round++)
		load->round();
	printf("%.1f\n", (double)(now() - begin) / count);
	return 0;
}

static int plant(int count, double milliseconds, const char *path)
{
	char numbered[4200];
	long long *moments = calloc(count, sizeof *moments), begin = now();
	int folder = path[strlen(path) - 1] == '/';
	if (!moments)
		fail("memory");
	for (int number = 0; number < count; number++) {
		snprintf(numbered, sizeof numbered, folder ? "%s%d" : "%s", path, number);
		sleep_until(begin + (long long)(number * milliseconds * 1e6));
		moments[number] = now();
		int fd = open(numbered, O_RDONLY);
		if (fd < 0)
			fail(numbered);
		close(fd);
	}
	for (int number = 0; number < count; number++)
		printf(number ? ", %lld" : "[%lld", moments[number]);
	puts("]");
	return 0;
}

static int count_calls(char *const words[])
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	long stops = 0;
	int status;
	pid_t child = fork(), stopped;
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(words[0], words);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || ptrace(PTRACE_SETOPTIONS, child, 0, options))
		fail("ptrace");
	ptrace(PTRACE_SYSCALL, child, 0, 0);
	while ((stopped = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status))
			continue;
		int signal = WSTOPSIG(status), own = signal == SIGTRAP || signal == SIGSTOP;
		if (signal == (SIGTRAP | 0x80)) {  // at the entry of a call, and again at its return
			stops++;
			own = 1;
		}
		ptrace(PTRACE_SYSCALL, stopped, 0, own ? 0 : signal);
	}
	printf("{\"calls\": %ld}\n", stops / 2);
	return 0;
}

int main(int argc, char *argv[])
{
	if (argc >= 3 && !strcmp(argv[1], "calls"))
		return count_calls(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "plant"))
		return plant(atoi(argv[2]), atof(argv[3]), argv[4]);
	if (argc == 5 && !strcmp(argv[1], "rounds"))
		return run_rounds(argv[2], atol(argv[3]), argv[4]);
	if (argc == 4)
		return run_load(argv[1], atof(argv[2]), argv[3]);
	fprintf(stderr, "usage: workload LOAD SECONDS FOLDER | plant COUNT MILLISECONDS PATH | calls COMMAND... | "
			"rounds LOAD COUNT FOLDER\n");
	return 2;
}
