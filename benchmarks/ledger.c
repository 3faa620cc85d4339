/* A mail server that keeps a ledger instead of mail: RFC 5321 with PIPELINING, one thread, 127.0.0.1 only.
   For each message it takes responsibility for, right before its 250: one line with the recipient and a hash of
   the bytes, LINE characters long, so that the size of the file says how many there are.
   Usage: ledger PORT FILE */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MOST 128
#define ROOM (256 * 1024)
#define LINE 64
#define FRESH 14695981039346656037u

struct client { int in_message, used, said; uint64_t hash; char to[LINE - 17], in[ROOM], out[4096]; };
static struct pollfd polled[MOST + 1];
static struct client *clients[MOST + 1];
static int ledger;

static void say(struct client *c, const char *line) {
    size_t size = strlen(line);
    if (c->said + size < sizeof c->out) { memcpy(c->out + c->said, line, size); c->said += size; }
}

static void recipient(struct client *c, const char *line, const char *end) {
    const char *from = memchr(line, '<', end - line), *to = from ? memchr(from, '>', end - from) : NULL;
    snprintf(c->to, sizeof c->to, "%.*s", to ? (int)(to - from - 1) : 0, from ? from + 1 : "");
}

/* Take a command line; return whether the conversation goes on. */
static int command(struct client *c, const char *line, const char *end) {
    if (!strncasecmp(line, "QUIT", 4)) { say(c, "221 bye\r\n"); return 0; }
    if (!strncasecmp(line, "EHLO", 4)) say(c, "250-ledger\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000\r\n");
    else if (!strncasecmp(line, "RCPT", 4)) { recipient(c, line, end); say(c, "250 ok\r\n"); }
    else if (!strncasecmp(line, "DATA", 4)) { say(c, "354 go\r\n"); c->in_message = 1; c->hash = FRESH; }
    else say(c, "250 ok\r\n");
    return 1;
}

static int hashed(struct client *c, const char *at, int size) {
    for (int i = 0; i < size; i++) c->hash = (c->hash ^ (unsigned char)at[i]) * 1099511628211u;
    return size;
}

/* Take what is there of a message; return how many bytes are done with. */
static int message(struct client *c, const char *at, int size) {
    char line[LINE + 1], *end = memmem(at, size, "\r\n.\r\n", 5);
    if (!end) return size > 4 ? hashed(c, at, size - 4) : 0;
    hashed(c, at, (int)(end - at));
    snprintf(line, sizeof line, "%-*s%016llx\n", LINE - 17, c->to, (unsigned long long)c->hash);
    if (write(ledger, line, LINE) != LINE) exit(1);
    say(c, "250 2.0.0 taken\r\n");
    c->in_message = 0;
    return (int)(end + 5 - at);
}

/* Take all that can be taken; return whether the conversation goes on. */
static int converse(struct client *c) {
    int done = 0, open = 1;
    while (open && done < c->used) {
        char *at = c->in + done, *end;
        int taken = 0;
        if (c->in_message) taken = message(c, at, c->used - done);
        else if ((end = memchr(at, '\n', c->used - done))) { open = command(c, at, end); taken = (int)(end + 1 - at); }
        if (!taken) break;
        done += taken;
    }
    memmove(c->in, c->in + done, c->used - done);
    c->used -= done;
    return open;
}

static void serve(int i, int *count) {
    struct client *c = clients[i];
    int size = (int)read(polled[i].fd, c->in + c->used, ROOM - c->used), open = size > 0;
    if (open) { c->used += size; open = converse(c); }
    if (c->said && write(polled[i].fd, c->out, c->said) < 0) open = 0;
    c->said = 0;
    if (open) return;
    close(polled[i].fd);
    free(c);
    polled[i] = polled[*count];
    clients[i] = clients[(*count)--];
}

int main(int argc, char **argv) {
    int one = 1, count = 0, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 2525)};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ledger = argc > 2 ? open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (ledger < 0 || bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, MOST)) {
        perror("ledger");
        return 1;
    }
    polled[0] = (struct pollfd){listener, POLLIN, 0};
    while (poll(polled, count + 1, -1) > 0) {
        for (int i = count; i > 0; i--) if (polled[i].revents) serve(i, &count);
        if ((polled[0].revents & POLLIN) && count < MOST) {
            int fd = accept(listener, NULL, NULL);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            polled[++count] = (struct pollfd){fd, POLLIN, 0};
            clients[count] = calloc(1, sizeof **clients);
            if (write(fd, "220 ledger\r\n", 12) < 0) shutdown(fd, SHUT_RDWR);
        }
    }
    return 1;
}
