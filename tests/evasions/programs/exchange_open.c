/* Opens a file again and again, while a second thread puts another file behind the descriptor that will be returned.
 * exchange_open FILE TIMES; prints how often the file was opened. */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int other, first;

static void *exchange(void *unused)
{
	for (;;) {
		dup2(other, first);
		dup2(other, first + 1);
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int times = atoi(argv[2]), opened = 0;

	other = open("/dev/null", O_RDONLY);
	first = dup(other);
	close(first);
	pthread_create(&thread, NULL, exchange, NULL);
	while (opened < times) {
		close(first);
		close(first + 1);
		opened += open(argv[1], O_RDONLY) >= 0;
	}
	printf("%d\n", opened);
	fflush(stdout);
	_exit(0);
}
