/* Connects a socket, and puts another file behind its descriptor before the call returns. The listener's queue is full,
 * so that the call waits until the listener has made room. exchange_socket PORT */

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener, client;

static void *exchange(void *unused)
{
	usleep(300000); /* the other thread is in connect() by then */
	dup2(open("/dev/null", O_RDWR), client);
	close(accept(listener, NULL, NULL));
	close(accept(listener, NULL, NULL));
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
	int yes = 1;
	pthread_t thread;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 0))
		return 1;
	for (int i = 0; i < 2; i++) { /* fills the queue */
		int filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(filler, (struct sockaddr *)&address, sizeof(address));
	}
	client = socket(AF_INET, SOCK_STREAM, 0);
	pthread_create(&thread, NULL, exchange, NULL);
	return connect(client, (struct sockaddr *)&address, sizeof(address)) ? 2 : 0;
}
