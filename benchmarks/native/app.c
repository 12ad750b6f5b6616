/* The target's app: a server on one thread that reads everything, and in one of its two ways answers.
 *
 * As a sink (message=0) it reads and counts. Otherwise requests of `message` bytes come (see message.h), each is answered with
 * `reply` bytes of HTTP, and costs `work` microseconds of CPU besides, burnt in user space, so that a request can cost what one
 * of a real app costs. With `record` it notes when each request was complete. */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "message.h"

enum { READ = 256 * 1024, EVENTS = 256, LARGEST_REPLY = 64 * 1024 };

struct peer {
    int socket;
    struct tracker tracker;
};

static char buffer[READ], answer[LARGEST_REPLY];
static size_t message, reply;
static uint64_t work_ns, requests, bytes, accepted;
static struct records records, *recording;

static void burn(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    uint64_t until = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec + work_ns;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    while ((uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec < until);
}

static int listen_on(int port)
{
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail("listen");
    return listener;
}

static void take(int poller, int listener)
{
    int taken, yes = 1;
    while ((taken = accept4(listener, NULL, NULL, 0)) >= 0) {
        struct peer *peer = allocate(sizeof *peer);
        peer->socket = taken;
        setsockopt(taken, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = {EPOLLIN, {.ptr = peer}};
        epoll_ctl(poller, EPOLL_CTL_ADD, taken, &event);
        accepted++;
    }
}

static void serve(struct peer *peer)
{
    ssize_t length = recv(peer->socket, buffer, READ, 0);
    int complete = 0;
    if (length > 0) {
        bytes += (uint64_t)length;
        complete = message ? track(&peer->tracker, buffer, (size_t)length, message, recording) : 0;
    }
    requests += (uint64_t)complete;
    for (; complete; complete--) {
        if (work_ns)
            burn();
        if (send(peer->socket, answer, reply, MSG_NOSIGNAL) != (ssize_t)reply)
            length = -1;
    }
    if (length <= 0) {
        close(peer->socket);
        free(peer);
    }
}

int main(int argc, char **argv)
{
    message = (size_t)option(argc, argv, "message", 0);
    reply = (size_t)option(argc, argv, "reply", 200);
    work_ns = (uint64_t)(option(argc, argv, "work", 0) * 1000);
    const char *record = text_option(argc, argv, "record", "");
    if (message && (message < SMALLEST_MESSAGE || reply < 80 || reply > LARGEST_REPLY))
        return 2;
    recording = *record ? &records : NULL;
    /* The length of the length: three digits to five, padded with zeros, so that the head has one size. */
    int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %05zu\r\n\r\n", reply);
    head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %05zu\r\n\r\n", reply - (size_t)head);
    memset(answer + head, 'r', reply - (size_t)head);

    int poller = epoll_create1(0), listener = listen_on((int)option(argc, argv, "port", 8080));
    struct epoll_event event = {EPOLLIN, {.ptr = &listener}}, ended = {EPOLLIN, {.ptr = NULL}}, ready[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &ended))
        fail("standard input must be a pipe");
    say_ready();
    for (int running = 1; running;) {
        int count = epoll_wait(poller, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (!ready[i].data.ptr)
                running = 0;
            else if (ready[i].data.ptr == &listener)
                take(poller, listener);
            else
                serve(ready[i].data.ptr);
        }
    }
    if (recording)
        write_records(&records, record);
    printf("{\"accepted\": %llu, \"requests\": %llu, \"bytes\": %llu}\n", (unsigned long long)accepted,
           (unsigned long long)requests, (unsigned long long)bytes);
    return 0;
}
