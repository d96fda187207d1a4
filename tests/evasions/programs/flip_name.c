/* Renames a file to FOLDER/0 again and again, while a second thread changes the last byte of that name to 1 and back.
 * flip_name FOLDER TIMES; prints how often the file was FOLDER/1 afterwards. */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char target[4096];
static volatile char *last;

static void *flip(void *unused)
{
	for (;;)
		*last ^= 1;
}

int main(int argc, char **argv)
{
	char source[4096], zero[4096], one[4096];
	int times = atoi(argv[2]), ones = 0;
	pthread_t thread;

	snprintf(source, sizeof(source), "%s/source", argv[1]);
	snprintf(zero, sizeof(zero), "%s/0", argv[1]);
	snprintf(one, sizeof(one), "%s/1", argv[1]);
	strcpy(target, zero);
	last = target + strlen(target) - 1;
	pthread_create(&thread, NULL, flip, NULL);
	for (int i = 0; i < times; i++) {
		close(open(source, O_CREAT | O_WRONLY, 0600));
		rename(source, target);
		ones += unlink(one) == 0;
		unlink(zero);
	}
	printf("%d\n", ones);
	fflush(stdout);
	_exit(0);
}
