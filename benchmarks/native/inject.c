/* Sends TCP segments as Ethernet frames, as fast as wanted and with nobody's TCP in between.
 *
 * Theory of operation. Two packet sockets, opened by the caller, are its hands: `client` sends into the veth pair, so that the
 * target's namespace receives the frames (PACKET_HOST: the destination MAC is the target's); `target` sends from the target's
 * own interface, which a capture there sees as PACKET_OUTGOING. So a whole conversation passes a capture: SYN, SYN-ACK, ACK, the
 * initiator's segments in sequence order, the responder's acknowledgments, FIN both ways. Neither IP address belongs to anyone,
 * so no kernel answers. The flows take turns, `burst` segments each: one is the hardest case for whoever batches by connection.
 *
 * A rate is kept by sending what has become due every fifth of a millisecond; rate 0 is as fast as it goes. After `linger`
 * seconds the connections end: so much time has a capture that is behind to make room, or it would miss that as well. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "bench.h"

enum { BATCH = 64, HEADERS = 54, LARGEST = 9000, SYN = 2, FIN = 1, PSH = 8, ACK = 16 };

static const uint8_t TARGET_MAC[6] = {2, 0, 0, 0, 0, 2}, CLIENT_MAC[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t INITIATOR[4] = {10, 123, 0, 200}, RESPONDER[4] = {10, 123, 0, 100};

struct flow {
    uint16_t port;
    uint32_t sequence;
    uint32_t answer; /* the responder's next sequence number */
    uint32_t segments;
};

static int client, target, size, port;
static uint64_t packets;

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

/* Ethernet, IPv4 with its checksum, TCP without one: captures do not look at it (offloads leave it unset as well). */
static void write_headers(uint8_t *frame, const struct flow *flow, int answers, int flags, int payload)
{
    memcpy(frame, answers ? CLIENT_MAC : TARGET_MAC, 6);
    memcpy(frame + 6, answers ? TARGET_MAC : CLIENT_MAC, 6);
    put16(frame + 12, 0x0800);
    uint8_t *ip = frame + 14, *tcp = frame + 34;
    memset(ip, 0, 40);
    ip[0] = 0x45;
    put16(ip + 2, 40u + (unsigned)payload);
    put16(ip + 6, 0x4000); /* do not fragment */
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, answers ? RESPONDER : INITIATOR, 4);
    memcpy(ip + 16, answers ? INITIATOR : RESPONDER, 4);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~sum & 0xffff);
    put16(tcp, answers ? (unsigned)port : flow->port);
    put16(tcp + 2, answers ? flow->port : (unsigned)port);
    put32(tcp + 4, answers ? flow->answer : flow->sequence);
    put32(tcp + 8, flags & ACK ? (answers ? flow->sequence : flow->answer) : 0);
    tcp[12] = 5 << 4;
    tcp[13] = (uint8_t)flags;
    put16(tcp + 14, 65535);
}

/* One segment without payload; SYN and FIN take a sequence number. */
static void send_bare(struct flow *flow, int answers, int flags)
{
    uint8_t frame[60] = {0};
    write_headers(frame, flow, answers, flags, 0);
    while (send(answers ? target : client, frame, sizeof frame, 0) < 0)
        if (errno != ENOBUFS && errno != EAGAIN)
            fail("send");
    packets++;
    if (flags & (SYN | FIN))
        ++*(answers ? &flow->answer : &flow->sequence);
}

static void send_batch(struct mmsghdr *messages, int count)
{
    for (int sent = 0; sent < count;) {
        int now = sendmmsg(client, messages + sent, (unsigned)(count - sent), 0);
        if (now < 0 && errno != ENOBUFS && errno != EAGAIN)
            fail("sendmmsg");
        sent += now > 0 ? now : 0;
    }
    packets += (uint64_t)count;
}

int main(int argc, char **argv)
{
    client = (int)option(argc, argv, "client", -1);
    target = (int)option(argc, argv, "target", -1);
    port = (int)option(argc, argv, "port", 8080);
    size = (int)option(argc, argv, "size", 200);
    int flows = (int)option(argc, argv, "flows", 100), burst = (int)option(argc, argv, "burst", 1);
    int first_port = (int)option(argc, argv, "first", 20000);
    unsigned ack_every = (unsigned)option(argc, argv, "ack_every", 0); /* segments of a flow; 0: at its end only */
    double rate = option(argc, argv, "rate", 0), seconds = option(argc, argv, "seconds", 1);
    if (size + HEADERS > LARGEST || flows < 1 || burst < 1)
        return 2;

    static uint8_t frames[BATCH][LARGEST];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    for (int i = 0; i < BATCH; i++) {
        memset(frames[i], 'p', LARGEST);
        vectors[i] = (struct iovec){frames[i], (size_t)(HEADERS + size)};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    struct flow *all = allocate((size_t)flows * sizeof *all);
    for (int i = 0; i < flows; i++) {
        all[i] = (struct flow){(uint16_t)(first_port + i), (uint32_t)i * 0x9e3779b9u, (uint32_t)i * 0x85ebca6bu, 0};
        send_bare(&all[i], 0, SYN);
        send_bare(&all[i], 1, SYN | ACK);
        send_bare(&all[i], 0, ACK);
    }
    prctl(PR_SET_TIMERSLACK, 1000);
    uint64_t segments = 0, wanted = rate > 0 ? (uint64_t)(rate * seconds) : UINT64_MAX, began = now_ns(), elapsed = 0;
    struct flow *due_acks[BATCH];
    while (segments < wanted && (double)elapsed < seconds * 2e9) {
        elapsed = now_ns() - began;
        if (rate <= 0 && (double)elapsed >= seconds * 1e9)
            break;
        uint64_t due = rate > 0 ? (uint64_t)((double)elapsed * 1e-9 * rate) + 1 : UINT64_MAX;
        if (due > wanted)
            due = wanted;
        if (due <= segments) {
            nanosleep(&(struct timespec){0, 200000}, NULL);
            continue;
        }
        int count = due - segments < BATCH ? (int)(due - segments) : BATCH, acks = 0;
        for (int i = 0; i < count; i++, segments++) {
            struct flow *flow = &all[segments / (unsigned)burst % (unsigned)flows];
            write_headers(frames[i], flow, 0, ACK | PSH, size);
            flow->sequence += (uint32_t)size;
            if (ack_every && ++flow->segments % ack_every == 0)
                due_acks[acks++] = flow;
        }
        send_batch(messages, count);
        for (int i = 0; i < acks; i++)
            send_bare(due_acks[i], 1, ACK);
    }
    elapsed = now_ns() - began;
    uint64_t pause = (uint64_t)(option(argc, argv, "linger", 0) * 1e9);
    nanosleep(&(struct timespec){(time_t)(pause / 1000000000), (long)(pause % 1000000000)}, NULL);
    for (int i = 0; i < flows; i++) {
        send_bare(&all[i], 0, FIN | ACK);
        send_bare(&all[i], 1, FIN | ACK);
        send_bare(&all[i], 0, ACK);
    }
    printf("{\"segments\": %llu, \"packets\": %llu, \"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)segments,
           (unsigned long long)packets, (unsigned long long)segments * (unsigned long long)size, (double)elapsed * 1e-9);
    return 0;
}
