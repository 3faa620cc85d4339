/* A mail server that throws everything away, quickly: RFC 5321 with PIPELINING, one thread, 127.0.0.1 only.
   It tells two fast clients apart where smtp-sink would be busier than either. Each reply, and those of a group
   together, can be held back for some milliseconds, as by a long way. Usage: sink PORT [MILLISECONDS] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define MOST 64
#define ROOM (256 * 1024)

struct client { int in_message, used, said; long due; char in[ROOM], out[4096]; };
static struct pollfd polled[MOST + 1];
static struct client *clients[MOST + 1];

static void say(struct client *c, const char *line) {
    size_t size = strlen(line);
    if (c->said + size < sizeof c->out) { memcpy(c->out + c->said, line, size); c->said += size; }
}

/* Take a command line; return whether the conversation goes on. */
static int command(struct client *c, const char *line) {
    if (!strncasecmp(line, "DATA", 4)) { say(c, "354 go\r\n"); c->in_message = 1; }
    else if (!strncasecmp(line, "EHLO", 4)) say(c, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000\r\n");
    else if (!strncasecmp(line, "QUIT", 4)) { say(c, "221 bye\r\n"); return 0; }
    else say(c, "250 ok\r\n");
    return 1;
}

/* Take what is there of a message; return how many bytes are done with. */
static int message(struct client *c, char *at, int size) {
    char *end = size >= 3 && !memcmp(at, ".\r\n", 3) ? at - 2 : memmem(at, size, "\r\n.\r\n", 5);
    if (!end) return size > 4 ? size - 4 : 0;
    say(c, "250 2.0.0 taken\r\n");
    c->in_message = 0;
    return (int)(end + 5 - at);
}

/* Take all that can be taken; return whether the conversation goes on. */
static int converse(struct client *c) {
    int done = 0, open = 1;
    while (open && done < c->used) {
        char *at = c->in + done, *line_end;
        int taken;
        if (c->in_message) taken = message(c, at, c->used - done);
        else if ((line_end = memchr(at, '\n', c->used - done))) { open = command(c, at); taken = (int)(line_end + 1 - at); }
        else taken = 0;
        if (!taken) break;
        done += taken;
    }
    memmove(c->in, c->in + done, c->used - done);
    c->used -= done;
    return open;
}

static void hang_up(int i, int *count) {
    close(polled[i].fd);
    free(clients[i]);
    polled[i] = polled[*count];
    clients[i] = clients[(*count)--];
}

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    int one = 1, count = 0, listener = socket(AF_INET, SOCK_STREAM, 0);
    long held = argc > 2 ? atol(argv[2]) : 0;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 2525)};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, MOST)) { perror("sink"); return 1; }
    polled[0] = (struct pollfd){listener, POLLIN, 0};
    while (poll(polled, count + 1, held ? 1 : -1) >= 0) {
        for (int i = count; i > 0; i--) {
            struct client *c = clients[i];
            int open = 1;
            if (polled[i].revents) {
                int size = (int)read(polled[i].fd, c->in + c->used, ROOM - c->used), silent = !c->said;
                if ((open = size > 0)) { c->used += size; open = converse(c); }
                if (held && silent && c->said) c->due = now() + held;
            }
            if (c->said && (!held || now() >= c->due || !open)) {
                if (write(polled[i].fd, c->out, c->said) < 0) open = 0;
                c->said = 0;
            }
            if (!open) hang_up(i, &count);
        }
        if ((polled[0].revents & POLLIN) && count < MOST) {
            int fd = accept(listener, NULL, NULL);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            polled[++count] = (struct pollfd){fd, POLLIN, 0};
            clients[count] = calloc(1, sizeof **clients);
            if (write(fd, "220 sink\r\n", 10) < 0) hang_up(count, &count);
        }
    }
    return 1;
}
