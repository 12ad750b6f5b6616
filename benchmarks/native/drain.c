/* A layer that costs next to nothing: reads the agent's frames, counts, gives credit, and throws the bytes away.
 *
 * Theory of operation. The caller has authenticated and subscribed, and hands over the connected socket; from here on frames are
 * told by their header (docs/protocol.md). Credit goes back per connection when a quarter of the window was used, as the layer
 * does. Pings are answered. When standard input ends it says goodbye, reads until the agent's, and prints what it counted and
 * the agent's last ledger. With `message` (bytes of a request) and `record` (a file) it stamps the arrival of each request. */

#define _GNU_SOURCE
#include <endian.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "message.h"

enum {
    HEADER = 5,
    LARGEST_FRAME = (1 << 20) + 4,
    ROOM = 2 << 20,
    CREDIT_AFTER = 256 * 1024 / 4,
    MOST_CONNECTIONS = 1 << 24,
};

enum { REFUSED = 6, GOODBYE = 11, OPENED = 16, DATA, OMITTED, GAP, ENDED, CLOSED, CREDIT, LEDGER = 32, PING, PONG };

struct connection {
    uint32_t used; /* of the credit, since it was given back last */
    uint8_t late;
    struct tracker *tracker;
};

static struct connection *connections;
static uint64_t connections_room;
static uint64_t received, frames, opened, late, late_bytes, closed, unsent;
static uint64_t delivered[2], omitted[2], gaps[2], gap_bytes[2], closed_for[256];
static uint8_t ledger[4096];
static size_t ledger_length, message;
static struct records records;
static int agent, ended;

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return be64toh(value);
}

static void put64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, 8);
}

static void tell(uint8_t kind, const uint8_t *body, uint32_t length)
{
    uint8_t frame[64];
    uint32_t prefix = htobe32(length + 1);
    memcpy(frame, &prefix, 4);
    frame[4] = kind;
    memcpy(frame + HEADER, body, length);
    if (send(agent, frame, HEADER + length, MSG_NOSIGNAL) != (ssize_t)(HEADER + length) && !ended)
        fail("send");
}

static struct connection *find(uint64_t number)
{
    if (number >= MOST_CONNECTIONS) {
        errno = ERANGE;
        fail("the number of a connection");
    }
    if (number >= connections_room) {
        uint64_t room = connections_room ? connections_room : 1024;
        while (room <= number)
            room *= 2;
        connections = realloc(connections, room * sizeof *connections);
        if (!connections)
            fail("realloc");
        memset(connections + connections_room, 0, (room - connections_room) * sizeof *connections);
        connections_room = room;
    }
    return &connections[number];
}

static void receive_data(const uint8_t *body, uint32_t length)
{
    struct connection *connection = find(get64(body));
    uint32_t payload = length - 17;
    delivered[body[8] & 1] += payload;
    late_bytes += connection->late ? payload : 0;
    connection->used += payload;
    if (connection->used >= CREDIT_AFTER) {
        uint8_t credit[12];
        uint32_t bytes = htobe32(connection->used);
        memcpy(credit, body, 8);
        memcpy(credit + 8, &bytes, 4);
        tell(CREDIT, credit, sizeof credit);
        connection->used = 0;
    }
    if (message && body[8] == 0) {
        if (!connection->tracker)
            connection->tracker = allocate(sizeof *connection->tracker);
        connection->tracker->position = get64(body + 9);
        track(connection->tracker, (const char *)body + 17, payload, message, &records);
    }
}

static void receive_ping(const uint8_t *body)
{
    uint8_t pong[24];
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    memcpy(pong, body, 8);
    put64(pong + 8, (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec);
    put64(pong + 16, received);
    tell(PONG, pong, sizeof pong);
}

static void receive_frame(uint8_t kind, const uint8_t *body, uint32_t length)
{
    frames++;
    switch (kind) {
    case DATA:
        receive_data(body, length);
        break;
    case OPENED:
        opened++;
        late += body[8];
        find(get64(body))->late = body[8];
        break;
    case OMITTED:
        omitted[body[8] & 1] += get64(body + 17);
        break;
    case GAP:
        gaps[body[8] & 1]++;
        gap_bytes[body[8] & 1] += get64(body + 17);
        break;
    case CLOSED: {
        struct connection *connection = find(get64(body));
        closed++;
        closed_for[body[8]]++;
        unsent += get64(body + 9);
        free(connection->tracker);
        connection->tracker = NULL;
        break;
    }
    case LEDGER:
        ledger_length = length < sizeof ledger ? length : 0;
        memcpy(ledger, body, ledger_length);
        break;
    case PING:
        receive_ping(body);
        break;
    case GOODBYE:
        ended = 1;
        break;
    case REFUSED:
        fprintf(stderr, "the agent refused: %.*s\n", (int)length - 4, body + 4);
        exit(1);
    }
}

static void print_result(void)
{
    printf("{\"frames\": %llu, \"opened\": %llu, \"late\": %llu, \"late_bytes\": %llu, \"closed\": %llu, \"unsent\": %llu, ",
           (unsigned long long)frames, (unsigned long long)opened, (unsigned long long)late, (unsigned long long)late_bytes,
           (unsigned long long)closed, (unsigned long long)unsent);
    for (int reason = 0; reason < 256; reason++)
        if (closed_for[reason])
            printf("\"closed_for_%d\": %llu, ", reason, (unsigned long long)closed_for[reason]);
    printf("\"delivered\": %llu, \"omitted\": %llu, \"gaps\": %llu, \"gap_bytes\": %llu, ", (unsigned long long)delivered[0],
           (unsigned long long)omitted[0], (unsigned long long)gaps[0], (unsigned long long)gap_bytes[0]);
    printf("\"ledger\": {");
    for (size_t at = 0; at + 9 <= ledger_length;) {
        uint8_t name = ledger[at];
        printf("%s\"%.*s\": %llu", at ? ", " : "", name, ledger + at + 1, (unsigned long long)get64(ledger + at + 1 + name));
        at += 9u + name;
    }
    puts("}}");
}

int main(int argc, char **argv)
{
    agent = (int)option(argc, argv, "agent", 3);
    received = (uint64_t)option(argc, argv, "received", 0);
    message = (size_t)option(argc, argv, "message", 0);
    const char *record = text_option(argc, argv, "record", "");
    uint8_t *buffer = allocate(ROOM);
    size_t held = 0;
    struct pollfd waiting[2] = {{agent, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    say_ready();
    while (!ended) {
        poll(waiting, 2, 10000);
        if (waiting[1].revents) {
            waiting[1].fd = -1;
            waiting[1].revents = 0;
            tell(GOODBYE, (const uint8_t *)"the benchmark is done", 21);
        }
        if (!waiting[0].revents)
            continue;
        ssize_t length = recv(agent, buffer + held, ROOM - held, 0);
        if (length <= 0)
            fail("the agent closed the connection");
        held += (size_t)length;
        size_t at = 0;
        while (held - at >= HEADER) {
            uint32_t prefix;
            memcpy(&prefix, buffer + at, 4);
            prefix = be32toh(prefix);
            if (!prefix || prefix + 4 > LARGEST_FRAME) {
                errno = EPROTO;
                fail("the length of a frame");
            }
            if (held - at < prefix + 4)
                break;
            receive_frame(buffer[at + 4], buffer + at + HEADER, prefix - 1);
            at += prefix + 4;
            received += prefix + 4;
        }
        held -= at;
        memmove(buffer, buffer + at, held);
    }
    if (*record)
        write_records(&records, record);
    print_result();
    return 0;
}
