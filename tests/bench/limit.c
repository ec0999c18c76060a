// SPDX-License-Identifier: GPL-2.0
/*
 * What a network file system could reach at best: the same bytes over one TCP connection,
 * by a plain client and server, to and from the same kind of store.
 *
 *	limit serve PORT DIR: keeps what it is sent in DIR/stream and DIR/log; ends when
 *		its client does
 *	limit write ADDR PORT FILE MIB: writes FILE, which is in memory, and sends it from
 *		the page cache; the server writes it and calls fdatasync
 *	limit read ADDR PORT FILE MIB: the mirror image: the server sends its file, the
 *		client puts it into FILE's page cache and reads it there
 *	limit fsync ADDR PORT N: N times 4 KiB and a header of 256 bytes, which the server
 *		appends to a file opened with O_DSYNC and answers
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "bench.h"

#define CHUNK	MIB
#define RECORD	(4096 + 256)

enum what { WRITE, READ, FSYNC };

struct order {
	uint32_t what, count;
};

static char buf[CHUNK];

static void tune(int sock)
{
	int one = 1;

	if (setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
}

/* Moves bytes from a file's page cache to the socket, without a copy of ours. */
static void send_file(int sock, int fd, off_t from, size_t len)
{
	ssize_t n;

	while (len) {
		n = sendfile(sock, fd, &from, len);
		if (n <= 0)
			die("sendfile");
		len -= n;
	}
}

/* From the socket into a file's page cache, through a pipe. */
static void receive_file(int sock, int fd, const int *through, size_t len)
{
	ssize_t in, out;

	while (len) {
		in = splice(sock, NULL, through[1], NULL, len, SPLICE_F_MOVE);
		if (in <= 0)
			die("splice from the socket");
		len -= in;
		while (in) {
			out = splice(through[0], NULL, fd, NULL, in, SPLICE_F_MOVE);
			if (out <= 0)
				die("splice to the file");
			in -= out;
		}
	}
}

/* ---- the server ---- */

static void serve_write(int sock, uint32_t mib)
{
	int fd = open("stream", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		die("stream");
	for (; mib; mib--) {
		if (!get(sock, buf, CHUNK))
			die("the client is gone");
		put(fd, buf, CHUNK);
	}
	if (fdatasync(fd))
		die("fdatasync");
	close(fd);
	put(sock, "", 1);
}

static void serve_read(int sock, uint32_t mib)
{
	int fd = open("stream", O_RDONLY);

	if (fd < 0)
		die("stream");
	send_file(sock, fd, 0, (size_t)mib * MIB);
	close(fd);
}

static void serve_fsync(int sock, uint32_t count)
{
	int fd = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_DSYNC, 0644);

	if (fd < 0)
		die("log");
	while (count--) {
		if (!get(sock, buf, RECORD))
			die("the client is gone");
		put(fd, buf, RECORD);
		put(sock, buf, 64);
	}
	close(fd);
}

static int serve(const char *port, const char *dir)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(strtoul(port, NULL, 10)),
	};
	struct order order;
	int one = 1, listener, sock;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1))
		die("port %s", port);
	if (chdir(dir))
		die("%s", dir);
	puts("ready");
	fflush(stdout);
	sock = accept(listener, NULL, NULL);
	if (sock < 0)
		die("accept");
	tune(sock);
	if (!get(sock, &order, sizeof(order)))
		die("no order");
	switch (order.what) {
	case WRITE:
		serve_write(sock, order.count);
		break;
	case READ:
		serve_read(sock, order.count);
		break;
	case FSYNC:
		serve_fsync(sock, order.count);
		break;
	}
	/* the client closes first */
	get(sock, buf, 1);
	return 0;
}

/* ---- the client ---- */

static int dial(const char *host, const char *port, enum what what, uint32_t count)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(strtoul(port, NULL, 10)),
	};
	struct order order = { .what = what, .count = count };
	int sock = socket(AF_INET, SOCK_STREAM, 0);

	if (sock < 0 || inet_pton(AF_INET, host, &addr.sin_addr) != 1 ||
	    connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		die("%s:%s", host, port);
	tune(sock);
	put(sock, &order, sizeof(order));
	return sock;
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		die("%s", path);
	return fd;
}

static double do_write(int sock, const char *path, uint32_t mib)
{
	double begin = now();
	int fd = open_file(path);
	uint32_t i;

	for (i = 0; i < mib; i++) {
		put(fd, buf, CHUNK);
		send_file(sock, fd, (off_t)i * CHUNK, CHUNK);
	}
	if (!get(sock, buf, 1))
		die("the server is gone");
	return now() - begin;
}

static double do_read(int sock, const char *path, uint32_t mib)
{
	int fd = open_file(path), through[2];
	double begin = now();
	uint32_t i;

	if (pipe(through) || fcntl(through[0], F_SETPIPE_SZ, CHUNK) < 0)
		die("pipe");
	for (i = 0; i < mib; i++) {
		receive_file(sock, fd, through, CHUNK);
		if (pread(fd, buf, CHUNK, (off_t)i * CHUNK) != CHUNK)
			die("read");
	}
	return now() - begin;
}

static double do_fsync(int sock, uint32_t count)
{
	double begin = now();

	while (count--) {
		put(sock, buf, RECORD);
		if (!get(sock, buf, 64))
			die("the server is gone");
	}
	return now() - begin;
}

static int usage(void)
{
	fputs("usage: limit serve PORT DIR\n"
	      "       limit write|read ADDR PORT FILE MIB\n"
	      "       limit fsync ADDR PORT N\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	uint32_t count;
	double time;

	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	if (argc < 5)
		return usage();
	count = strtoul(argv[argc - 1], NULL, 10);
	fill(buf, sizeof(buf));
	if (!strcmp(argv[1], "fsync") && argc == 5)
		time = do_fsync(dial(argv[2], argv[3], FSYNC, count), count);
	else if (!strcmp(argv[1], "write") && argc == 6)
		time = do_write(dial(argv[2], argv[3], WRITE, count), argv[4], count);
	else if (!strcmp(argv[1], "read") && argc == 6)
		time = do_read(dial(argv[2], argv[3], READ, count), argv[4], count);
	else
		return usage();
	printf("%.6f\n", time);
	return 0;
}
