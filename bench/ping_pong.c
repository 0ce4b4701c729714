/* SPDX-License-Identifier: Apache-2.0 */
/* Request and response of one octet over TCP, with nothing in between but system calls.
 *
 *   ping_pong serve PORT                    answers every octet, over IPv4 and IPv6, until killed
 *   ping_pong trips HOST PORT SECONDS       over one connection: prints nanoseconds per trip
 *   ping_pong connections HOST PORT SECONDS connect, request, response, close: likewise
 *
 * A connection is closed by a reset, so that no port waits out its time and none runs short.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 200
#define EVENTS 64

static void fail(const char *what)
{
	fprintf(stderr, "ping_pong: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void set_no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
}

static void serve(int port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int listener = socket(AF_INET6, SOCK_STREAM, 0), epoll = epoll_create1(0), on = 1, off = 0;
	struct epoll_event events[EVENTS];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 1024))
		fail("listen");
	watch(epoll, listener);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			char octet;

			if (fd == listener) {
				fd = accept(listener, NULL, NULL);
				if (fd >= 0) {
					set_no_delay(fd);
					watch(epoll, fd);
				}
			} else if (read(fd, &octet, 1) != 1 || write(fd, &octet, 1) != 1) {
				close(fd);
			}
		}
	}
}

static int connect_to(const struct addrinfo *where)
{
	struct linger reset = {.l_onoff = 1};
	int fd = socket(where->ai_family, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, where->ai_addr, where->ai_addrlen))
		fail("connect");
	set_no_delay(fd);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

static void trip(int fd)
{
	char octet = 'x';

	if (write(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 1)
		fail("trip");
}

static void once(const struct addrinfo *where, int fd)
{
	if (fd >= 0) {
		trip(fd);
		return;
	}
	fd = connect_to(where);
	trip(fd);
	close(fd);
}

static void ask(const struct addrinfo *where, int fd, double seconds)
{
	double began, end;
	long count = 0;

	for (int i = 0; i < WARM_UP; i++)
		once(where, fd);
	began = now_s();
	do {
		for (int i = 0; i < 16; i++)
			once(where, fd);
		count += 16;
		end = now_s();
	} while (end - began < seconds);
	printf("%.1f\n", (end - began) * 1e9 / count);
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *where;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	if (argc != 5) {
		fprintf(stderr, "usage: ping_pong serve PORT | trips|connections HOST PORT SECONDS\n");
		return 2;
	}
	if (getaddrinfo(argv[2], argv[3], &hints, &where))
		fail(argv[2]);
	ask(where, strcmp(argv[1], "trips") ? -1 : connect_to(where), atof(argv[4]));
	return 0;
}
