/* The requests that the benchmarks send, and how a reader of a byte stream tells when one was sent.
 *
 * A request has a fixed size and is valid HTTP/1.1. Its path carries, in hexadecimal, when it was sent (CLOCK_MONOTONIC, ns, 16
 * digits), on which connection (8) and which one of that connection it is (8). Whoever reads the stream and knows the size can
 * stamp the arrival of each request's last byte, whatever the pieces in which the bytes come. */

#ifndef PODMIRROR_MESSAGE_H
#define PODMIRROR_MESSAGE_H

#include "bench.h"

enum { STAMP_AT = 5, STAMP_DIGITS = 32, HEAD_BYTES = STAMP_AT + STAMP_DIGITS, SMALLEST_MESSAGE = 96 };

/* As it is written to the file of records. */
struct record {
    uint64_t sent, received;
    uint32_t connection, number;
};

struct records {
    struct record *each;
    size_t count, room;
};

/* What a reader keeps for each connection: the stream's position, and the head of the request it is in. */
struct tracker {
    uint64_t position;
    char head[HEAD_BYTES + 1];
};

static inline void fill_message(char *message, size_t size)
{
    memset(message, 'f', size);
    memcpy(message, "GET /", 5);
    const char rest[] = " HTTP/1.1\r\nHost: bench\r\nX-Fill: ";
    memcpy(message + HEAD_BYTES, rest, sizeof rest - 1);
    memcpy(message + size - 4, "\r\n\r\n", 4);
}

static inline void stamp_message(char *message, uint32_t connection, uint32_t number)
{
    char digits[STAMP_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016llx%08x%08x", (unsigned long long)now_ns(), connection, number);
    memcpy(message + STAMP_AT, digits, STAMP_DIGITS);
}

static inline void keep_record(struct records *records, const char *head, uint64_t received)
{
    unsigned long long sent;
    struct record record;
    if (sscanf(head + STAMP_AT, "%16llx%8x%8x", &sent, &record.connection, &record.number) != 3)
        return;
    if (records->count == records->room) {
        records->room = records->room ? records->room * 2 : 4096;
        records->each = realloc(records->each, records->room * sizeof record);
        if (!records->each)
            fail("realloc");
    }
    record.sent = sent;
    record.received = received;
    records->each[records->count++] = record;
}

/* Take the next bytes of a stream, and give how many requests they complete. */
static inline int track(struct tracker *tracker, const char *data, size_t length, size_t size, struct records *records)
{
    int complete = 0;
    uint64_t received = records ? now_ns() : 0;
    while (length) {
        size_t inside = tracker->position % size, piece = size - inside < length ? size - inside : length;
        if (inside < HEAD_BYTES)
            memcpy(tracker->head + inside, data, inside + piece > HEAD_BYTES ? HEAD_BYTES - inside : piece);
        tracker->position += piece;
        data += piece;
        length -= piece;
        if (tracker->position % size == 0) {
            complete++;
            if (records)
                keep_record(records, tracker->head, received);
        }
    }
    return complete;
}

static inline void write_records(const struct records *records, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(records->each, sizeof(struct record), records->count, file) != records->count || fclose(file))
        fail(path);
}

#endif
