/* Reads a TPACKET_V3 ring as a capture would that did nothing but the unavoidable: the physical limit of the comparison.
 *
 * Theory of operation. The ring has the agent's geometry. For each packet that the filter `tcp port N` lets through: find the TCP
 * header (IPv4 without extension headers only, which is all that the benchmarks send), look the connection up in a hash table,
 * compare the sequence number with the expected one, copy the payload away. No reordering, no end of connections, no output. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { BLOCK = 256 * 1024, TIMEOUT_MS = 1, SLOTS = 1 << 17, COPY = 64 * 1024 };

struct connection {
    uint8_t key[12]; /* both addresses and both ports, as they stand in the packet */
    uint32_t next;
    uint8_t used;
};

static struct connection table[SLOTS];
static uint8_t copy[COPY + 0x40000];
static uint64_t packets, bytes, jumps;

static struct connection *find(const uint8_t *key)
{
    uint64_t a;
    uint32_t b;
    memcpy(&a, key, 8);
    memcpy(&b, key + 8, 4);
    uint64_t hash = (a ^ (uint64_t)b << 17) * 0x9e3779b97f4a7c15u;
    for (uint32_t i = (uint32_t)(hash >> 40);; i++) {
        struct connection *each = &table[i % SLOTS];
        if (!each->used) {
            memcpy(each->key, key, 12);
            each->used = 1;
            return each;
        }
        if (!memcmp(each->key, key, 12))
            return each;
    }
}

static void receive(const uint8_t *ethernet, uint32_t captured)
{
    static uint32_t position;
    const uint8_t *ip = ethernet + 14;
    uint32_t ip_header = (ip[0] & 15u) * 4, total = (uint32_t)(ip[2] << 8 | ip[3]);
    const uint8_t *tcp = ip + ip_header;
    uint32_t headers = ip_header + (tcp[12] >> 4) * 4u, length = (total ? total : captured - 14) - headers;
    uint8_t key[12];
    memcpy(key, ip + 12, 8);
    memcpy(key + 8, tcp, 4);
    struct connection *connection = find(key);
    uint32_t sequence;
    memcpy(&sequence, tcp + 4, 4);
    sequence = ntohl(sequence);
    if (tcp[13] & 2)
        connection->next = ++sequence; /* a SYN takes a number */
    jumps += connection->next != sequence;
    connection->next = sequence + length;
    memcpy(copy + position, ip + headers, length);
    position = (position + length) % COPY;
    packets++;
    bytes += length;
}

static void attach_filter(int packet_socket, uint32_t port)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 10),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 8),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 6, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 14),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 2, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 16),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0x40000),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (setsockopt(packet_socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
        fail("SO_ATTACH_FILTER");
}

int main(int argc, char **argv)
{
    uint32_t blocks = (uint32_t)option(argc, argv, "mebibytes", 64) * (1 << 20) / BLOCK;
    int packet_socket = socket(AF_PACKET, SOCK_RAW, 0), version = TPACKET_V3;
    if (packet_socket < 0)
        fail("socket");
    attach_filter(packet_socket, (uint32_t)option(argc, argv, "port", 8080));
    if (setsockopt(packet_socket, SOL_PACKET, PACKET_VERSION, &version, sizeof version))
        fail("PACKET_VERSION");
    struct tpacket_req3 request = {BLOCK, blocks, 2048, BLOCK / 2048 * blocks, TIMEOUT_MS, 0, 0};
    if (setsockopt(packet_socket, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
        fail("PACKET_RX_RING");
    uint8_t *ring = mmap(NULL, (size_t)BLOCK * blocks, PROT_READ | PROT_WRITE, MAP_SHARED, packet_socket, 0);
    if (ring == MAP_FAILED)
        fail("mmap");
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    address.sll_ifindex = (int)if_nametoindex(text_option(argc, argv, "interface", "eth0"));
    if (bind(packet_socket, (struct sockaddr *)&address, sizeof address))
        fail("bind");
    say_ready();

    struct pollfd waiting[2] = {{packet_socket, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (uint32_t next = 0; !(waiting[1].revents & (POLLIN | POLLHUP));) {
        struct tpacket_block_desc *block = (void *)(ring + (size_t)next * BLOCK);
        if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
            poll(waiting, 2, -1);
            continue;
        }
        const uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
        for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
            const struct tpacket3_hdr *packet = (const void *)at;
            receive(at + packet->tp_mac, packet->tp_snaplen);
            at += packet->tp_next_offset;
        }
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        next = (next + 1) % blocks;
    }
    struct tpacket_stats_v3 statistics;
    socklen_t length = sizeof statistics;
    if (getsockopt(packet_socket, SOL_PACKET, PACKET_STATISTICS, &statistics, &length))
        fail("PACKET_STATISTICS");
    printf("{\"packets\": %llu, \"bytes\": %llu, \"jumps\": %llu, \"drops\": %u}\n", (unsigned long long)packets,
           (unsigned long long)bytes, (unsigned long long)jumps, statistics.tp_drops);
    return 0;
}
