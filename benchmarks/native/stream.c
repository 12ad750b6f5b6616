/* Writes to many connections in turn, at a fixed rate or as fast as it goes, through the kernel's own TCP.
 *
 * With large writes on few connections that is bulk (and super-packets, where offloads are on); with writes of 200 bytes on a
 * thousand connections it is chatter. A rate counts writes a second. It says "over" when all is written. When standard input
 * ends it shuts every connection down and waits until the sink has read all and closes in turn, so that nothing is under way
 * when it has ended. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

static void write_all(int to, const char *data, size_t length)
{
    while (length) {
        ssize_t written = send(to, data, length, MSG_NOSIGNAL);
        if (written < 0)
            fail("send");
        data += written;
        length -= (size_t)written;
    }
}

int main(int argc, char **argv)
{
    int connections = (int)option(argc, argv, "connections", 8), yes = 1;
    size_t size = (size_t)option(argc, argv, "size", 100000);
    double rate = option(argc, argv, "rate", 0), seconds = option(argc, argv, "seconds", 1);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option(argc, argv, "port", 8080))};
    inet_pton(AF_INET, text_option(argc, argv, "address", "10.123.0.1"), &address.sin_addr);
    int *opened = allocate((size_t)connections * sizeof *opened);
    for (int i = 0; i < connections; i++) {
        opened[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(opened[i], (struct sockaddr *)&address, sizeof address))
            fail("connect");
        setsockopt(opened[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    char *data = allocate(size);
    memset(data, 'p', size);
    prctl(PR_SET_TIMERSLACK, 1000);
    uint64_t writes = 0, wanted = rate > 0 ? (uint64_t)(rate * seconds) : UINT64_MAX, began = now_ns(), elapsed = 0;
    while (writes < wanted && (double)elapsed < seconds * (rate > 0 ? 2e9 : 1e9)) {
        elapsed = now_ns() - began;
        if (rate > 0 && (uint64_t)((double)elapsed * 1e-9 * rate) + 1 <= writes) {
            nanosleep(&(struct timespec){0, 200000}, NULL);
            continue;
        }
        write_all(opened[writes++ % (uint64_t)connections], data, size);
    }
    elapsed = now_ns() - began;
    puts("over");
    fflush(stdout);
    while (read(STDIN_FILENO, data, size) > 0)
        ;
    for (int i = 0; i < connections; i++)
        shutdown(opened[i], SHUT_WR);
    for (int i = 0; i < connections; i++)
        while (recv(opened[i], data, size, 0) > 0)
            ;
    printf("{\"writes\": %llu, \"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)writes,
           (unsigned long long)writes * (unsigned long long)size, (double)elapsed * 1e-9);
    return 0;
}
