/* A client that sends requests and waits for their answers: closed loop, at a fixed rate, or with a connection for each.
 *
 * Theory of operation. Closed loop (rate=0): each connection has one request under way, and the next follows its answer. At a
 * rate, a timer says when requests are due and they go to the connections in turn, whatever the answers do; so a slow answer
 * delays no later request. With once=1 a connection carries one request and is closed by the client after the answer; as many
 * are under way as `connections` says. Latency runs from just before the write to the answer's last byte. What a connection
 * had under way when it broke, and a connection that could not be made, are failures; so is a short or surplus answer.
 *
 * When the time is over it says "over", and keeps its connections until standard input ends: a capture that is behind would
 * miss their ends as well. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench.h"
#include "message.h"

enum { EVENTS = 256, READ = 256 * 1024, MOST_LATENCIES = 1 << 23, LARGEST = 64 * 1024, GRACE_MS = 2000, STAMPS = 256 };

struct peer {
    int socket;
    uint32_t index, number;
    uint64_t pending, got, done, sent_at[STAMPS]; /* of the last requests: at a rate, several may be under way */
};

static struct sockaddr_in address;
static size_t message, reply;
static int once, poller;
static char request[LARGEST], buffer[READ];
static uint64_t sent, answered, failures, pending;
static uint32_t *latencies; /* hundredths of a microsecond */

static int open_peer(struct peer *peer)
{
    int yes = 1;
    peer->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (peer->socket < 0 || connect(peer->socket, (struct sockaddr *)&address, sizeof address)) {
        failures++;
        close(peer->socket);
        peer->socket = -1;
        return 0;
    }
    setsockopt(peer->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {EPOLLIN, {.ptr = peer}};
    epoll_ctl(poller, EPOLL_CTL_ADD, peer->socket, &event);
    return 1;
}

static void close_peer(struct peer *peer)
{
    failures += peer->pending;
    pending -= peer->pending;
    peer->pending = peer->got = 0;
    peer->done = peer->number;
    close(peer->socket);
    peer->socket = -1;
}

static void send_request(struct peer *peer)
{
    if (peer->socket < 0 && !open_peer(peer))
        return;
    stamp_message(request, peer->index, peer->number);
    peer->sent_at[peer->number++ % STAMPS] = now_ns();
    sent++;
    pending++;
    peer->pending++;
    if (send(peer->socket, request, message, MSG_NOSIGNAL) != (ssize_t)message)
        close_peer(peer);
}

/* Read answers; give whether one was completed. */
static int receive(struct peer *peer)
{
    ssize_t length = recv(peer->socket, buffer, READ, 0);
    int complete = 0;
    if (length <= 0) {
        close_peer(peer);
        return 1;
    }
    for (peer->got += (uint64_t)length; peer->got >= reply && peer->pending; peer->got -= reply) {
        peer->pending--;
        pending--;
        complete = 1;
        if (answered < MOST_LATENCIES)
            latencies[answered] = (uint32_t)((now_ns() - peer->sent_at[peer->done % STAMPS]) / 10);
        answered++;
        peer->done++;
    }
    if (peer->got && !peer->pending)
        failures++;
    if (complete && once)
        close_peer(peer);
    return complete;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_us(double share)
{
    uint64_t count = answered < MOST_LATENCIES ? answered : MOST_LATENCIES;
    return count ? latencies[(uint64_t)((double)(count - 1) * share)] / 100.0 : 0;
}

int main(int argc, char **argv)
{
    uint32_t connections = (uint32_t)option(argc, argv, "connections", 10);
    double rate = option(argc, argv, "rate", 0), seconds = option(argc, argv, "seconds", 1);
    message = (size_t)option(argc, argv, "message", 256);
    reply = (size_t)option(argc, argv, "reply", 200);
    once = (int)option(argc, argv, "once", 0);
    if (message < SMALLEST_MESSAGE || message > LARGEST)
        return 2;
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)option(argc, argv, "port", 8080));
    inet_pton(AF_INET, text_option(argc, argv, "address", "10.123.0.1"), &address.sin_addr);
    fill_message(request, message);
    latencies = allocate(MOST_LATENCIES * sizeof *latencies);
    poller = epoll_create1(0);
    struct peer *peers = allocate(connections * sizeof *peers);
    for (uint32_t i = 0; i < connections; i++) {
        peers[i].index = i;
        peers[i].socket = -1;
        if (!once)
            open_peer(&peers[i]);
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    uint64_t began = now_ns(), until = began + (uint64_t)(seconds * 1e9);
    if (rate > 0) {
        struct timespec each = {(time_t)(1 / rate), (long)(1e9 / rate) % 1000000000};
        struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
        timerfd_settime(timer, 0, &(struct itimerspec){each, each}, NULL);
        epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    } else
        for (uint32_t i = 0; i < connections; i++)
            send_request(&peers[i]);
    uint32_t turn = 0;
    uint64_t now;
    struct epoll_event ready[EVENTS];
    while ((now = now_ns()) < until || (pending && now < until + GRACE_MS * 1000000ull)) {
        int count = epoll_wait(poller, ready, EVENTS, 10);
        for (int i = 0; i < count; i++) {
            uint64_t due;
            if (ready[i].data.ptr) {
                if (receive(ready[i].data.ptr) && rate <= 0 && now < until)
                    send_request(ready[i].data.ptr);
            } else if (read(timer, &due, sizeof due) == sizeof due && now < until)
                for (; due; due--, turn++) {
                    for (uint32_t busy = 0; once && peers[turn % connections].pending && busy < connections; busy++)
                        turn++;
                    send_request(&peers[turn % connections]);
                }
        }
    }
    uint64_t elapsed = until - began;
    puts("over");
    fflush(stdout);
    while (read(STDIN_FILENO, buffer, READ) > 0)
        ;
    for (uint32_t i = 0; i < connections; i++)
        if (peers[i].socket >= 0)
            close_peer(&peers[i]);
    qsort(latencies, answered < MOST_LATENCIES ? answered : MOST_LATENCIES, sizeof *latencies, compare);
    printf("{\"requests\": %llu, \"answered\": %llu, \"failures\": %llu, \"bytes\": %llu, \"seconds\": %.6f, ",
           (unsigned long long)sent, (unsigned long long)answered, (unsigned long long)failures,
           (unsigned long long)sent * (unsigned long long)message, (double)elapsed * 1e-9);
    printf("\"latency_p50_us\": %.2f, \"latency_p99_us\": %.2f, \"latency_max_us\": %.2f}\n", percentile_us(0.5),
           percentile_us(0.99), percentile_us(1));
    return 0;
}
