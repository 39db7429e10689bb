#include "workers/http/ssrf.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct range {
        uint8_t prefix[16];
        uint8_t bits;
        enum address_kind kind;
};

static const struct range ranges4[] = {
        {{0}, 8, ADDRESS_FORBIDDEN},             /* this network */
        {{10}, 8, ADDRESS_PRIVATE},              /* RFC 1918 */
        {{100, 64}, 10, ADDRESS_PRIVATE},        /* RFC 6598 carrier-grade NAT */
        {{127}, 8, ADDRESS_PRIVATE},             /* loopback */
        {{169, 254}, 16, ADDRESS_FORBIDDEN},     /* link-local, cloud metadata */
        {{172, 16}, 12, ADDRESS_PRIVATE},        /* RFC 1918 */
        {{192, 0, 0}, 24, ADDRESS_FORBIDDEN},    /* protocol assignments */
        {{192, 0, 2}, 24, ADDRESS_FORBIDDEN},    /* documentation */
        {{192, 88, 99}, 24, ADDRESS_FORBIDDEN},  /* 6to4 relay */
        {{192, 168}, 16, ADDRESS_PRIVATE},       /* RFC 1918 */
        {{198, 18}, 15, ADDRESS_FORBIDDEN},      /* benchmarking */
        {{198, 51, 100}, 24, ADDRESS_FORBIDDEN}, /* documentation */
        {{203, 0, 113}, 24, ADDRESS_FORBIDDEN},  /* documentation */
        {{224}, 4, ADDRESS_FORBIDDEN},           /* multicast */
        {{240}, 4, ADDRESS_FORBIDDEN},           /* reserved, broadcast */
};

/* First match counts; what is outside 2000::/3 is no global unicast address. */
static const struct range ranges6[] = {
        {{[15] = 1}, 128, ADDRESS_PRIVATE},                /* ::1 */
        {{0xfc}, 7, ADDRESS_PRIVATE},                      /* unique local */
        {{0xfe, 0xc0}, 10, ADDRESS_FORBIDDEN},             /* site-local, deprecated */
        {{0x00, 0x64, 0xff, 0x9b}, 32, ADDRESS_FORBIDDEN}, /* NAT64: 64:ff9b::/96 and 64:ff9b:1::/48 */
        {{0x20, 0x01, 0x00}, 23, ADDRESS_FORBIDDEN},       /* protocol assignments, Teredo, ORCHID */
        {{0x20, 0x01, 0x0d, 0xb8}, 32, ADDRESS_FORBIDDEN}, /* documentation */
        {{0x20, 0x02}, 16, ADDRESS_FORBIDDEN},             /* 6to4: carries any IPv4 address */
        {{0x3f, 0xff}, 20, ADDRESS_FORBIDDEN},             /* documentation */
        {{0x20}, 3, ADDRESS_PUBLIC},                       /* global unicast */
        {{0}, 0, ADDRESS_FORBIDDEN},                       /* ::, fe80::/10, ff00::/8, 100::/64, the rest */
};

static bool range_has(const struct range *range, const uint8_t *address) {
        uint32_t bytes = range->bits / 8, rest = range->bits % 8;
        if (memcmp(range->prefix, address, bytes) != 0)
                return false;
        return rest == 0 || (range->prefix[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

static enum address_kind kind_in(const struct range *ranges, size_t count, const uint8_t *address) {
        for (size_t i = 0; i < count; i++)
                if (range_has(&ranges[i], address))
                        return ranges[i].kind;
        return ADDRESS_PUBLIC;
}

static enum address_kind kind4(const uint8_t *address) {
        return kind_in(ranges4, sizeof ranges4 / sizeof *ranges4, address);
}

static enum address_kind kind6(const uint8_t *address) {
        static const struct range mapped = {{[10] = 0xff, [11] = 0xff}, 96, ADDRESS_PUBLIC};
        if (range_has(&mapped, address))
                return kind4(address + 12);
        return kind_in(ranges6, sizeof ranges6 / sizeof *ranges6, address);
}

enum address_kind address_kind(const struct sockaddr *address) {
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        if (address->sa_family == AF_INET) {
                memcpy(&in4, address, sizeof in4);
                return kind4((const uint8_t *)&in4.sin_addr);
        }
        if (address->sa_family == AF_INET6) {
                memcpy(&in6, address, sizeof in6);
                return kind6(in6.sin6_addr.s6_addr);
        }
        return ADDRESS_FORBIDDEN;
}

enum address_kind address_kind_text(const char *text) {
        uint8_t address[16];
        if (inet_pton(AF_INET, text, address) == 1)
                return kind4(address);
        if (inet_pton(AF_INET6, text, address) == 1)
                return kind6(address);
        return ADDRESS_FORBIDDEN;
}

static bool same_host(const struct sockaddr *a, const struct sockaddr *b) {
        struct sockaddr_in a4, b4;
        struct sockaddr_in6 a6, b6;
        if (b == NULL || a->sa_family != b->sa_family)
                return false;
        if (a->sa_family == AF_INET) {
                memcpy(&a4, a, sizeof a4);
                memcpy(&b4, b, sizeof b4);
                return a4.sin_addr.s_addr == b4.sin_addr.s_addr;
        }
        if (a->sa_family != AF_INET6)
                return false;
        memcpy(&a6, a, sizeof a6);
        memcpy(&b6, b, sizeof b6);
        return memcmp(&a6.sin6_addr, &b6.sin6_addr, sizeof a6.sin6_addr) == 0;
}

bool address_own(const struct sockaddr *address) {
        struct ifaddrs *list = NULL;
        bool own = false;
        if (getifaddrs(&list) != 0)
                return true; /* cannot tell: as if it were */
        for (const struct ifaddrs *i = list; i != NULL && !own; i = i->ifa_next)
                own = same_host(address, i->ifa_addr);
        freeifaddrs(list);
        return own;
}
