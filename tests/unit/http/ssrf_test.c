/* The whole table of addresses, each range at both ends and just outside of it, and IPv4 in its IPv6
 * disguises. */
#include "workers/http/ssrf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static const struct {
        const char *address;
        enum address_kind kind;
} table[] = {
        {"0.0.0.0", ADDRESS_FORBIDDEN},
        {"0.255.255.255", ADDRESS_FORBIDDEN},
        {"1.0.0.0", ADDRESS_PUBLIC},
        {"9.255.255.255", ADDRESS_PUBLIC},
        {"10.0.0.0", ADDRESS_PRIVATE},
        {"10.255.255.255", ADDRESS_PRIVATE},
        {"11.0.0.0", ADDRESS_PUBLIC},
        {"100.63.255.255", ADDRESS_PUBLIC},
        {"100.64.0.0", ADDRESS_PRIVATE},
        {"100.127.255.255", ADDRESS_PRIVATE},
        {"100.128.0.0", ADDRESS_PUBLIC},
        {"126.255.255.255", ADDRESS_PUBLIC},
        {"127.0.0.1", ADDRESS_PRIVATE},
        {"127.255.255.255", ADDRESS_PRIVATE},
        {"128.0.0.0", ADDRESS_PUBLIC},
        {"169.253.255.255", ADDRESS_PUBLIC},
        {"169.254.0.0", ADDRESS_FORBIDDEN},
        {"169.254.169.254", ADDRESS_FORBIDDEN},
        {"169.254.255.255", ADDRESS_FORBIDDEN},
        {"169.255.0.0", ADDRESS_PUBLIC},
        {"172.15.255.255", ADDRESS_PUBLIC},
        {"172.16.0.0", ADDRESS_PRIVATE},
        {"172.31.255.255", ADDRESS_PRIVATE},
        {"172.32.0.0", ADDRESS_PUBLIC},
        {"191.255.255.255", ADDRESS_PUBLIC},
        {"192.0.0.0", ADDRESS_FORBIDDEN},
        {"192.0.0.255", ADDRESS_FORBIDDEN},
        {"192.0.1.0", ADDRESS_PUBLIC},
        {"192.0.2.1", ADDRESS_FORBIDDEN},
        {"192.0.3.0", ADDRESS_PUBLIC},
        {"192.88.99.1", ADDRESS_FORBIDDEN},
        {"192.167.255.255", ADDRESS_PUBLIC},
        {"192.168.0.0", ADDRESS_PRIVATE},
        {"192.168.255.255", ADDRESS_PRIVATE},
        {"192.169.0.0", ADDRESS_PUBLIC},
        {"198.17.255.255", ADDRESS_PUBLIC},
        {"198.18.0.0", ADDRESS_FORBIDDEN},
        {"198.19.255.255", ADDRESS_FORBIDDEN},
        {"198.20.0.0", ADDRESS_PUBLIC},
        {"198.51.100.7", ADDRESS_FORBIDDEN},
        {"203.0.113.7", ADDRESS_FORBIDDEN},
        {"223.255.255.255", ADDRESS_PUBLIC},
        {"224.0.0.0", ADDRESS_FORBIDDEN},
        {"239.255.255.255", ADDRESS_FORBIDDEN},
        {"240.0.0.0", ADDRESS_FORBIDDEN},
        {"255.255.255.255", ADDRESS_FORBIDDEN},
        {"8.8.8.8", ADDRESS_PUBLIC},
        {"::", ADDRESS_FORBIDDEN},
        {"::1", ADDRESS_PRIVATE},
        {"::2", ADDRESS_FORBIDDEN},
        {"::7f00:1", ADDRESS_FORBIDDEN}, /* 127.0.0.1, "IPv4-compatible" */
        {"::ffff:127.0.0.1", ADDRESS_PRIVATE},
        {"::ffff:10.1.2.3", ADDRESS_PRIVATE},
        {"::ffff:169.254.169.254", ADDRESS_FORBIDDEN},
        {"::ffff:0.0.0.0", ADDRESS_FORBIDDEN},
        {"::ffff:8.8.8.8", ADDRESS_PUBLIC},
        {"::ffff:0:7f00:1", ADDRESS_FORBIDDEN}, /* translated, RFC 2765 */
        {"64:ff9b::7f00:1", ADDRESS_FORBIDDEN},
        {"64:ff9b:1::1", ADDRESS_FORBIDDEN},
        {"100::1", ADDRESS_FORBIDDEN},
        {"2001::1", ADDRESS_FORBIDDEN},     /* Teredo */
        {"2001:1ff::1", ADDRESS_FORBIDDEN}, /* protocol assignments end */
        {"2001:200::1", ADDRESS_PUBLIC},
        {"2001:db8::1", ADDRESS_FORBIDDEN},
        {"2001:db9::1", ADDRESS_PUBLIC},
        {"2001:4860:4860::8888", ADDRESS_PUBLIC},
        {"2002:7f00:1::", ADDRESS_FORBIDDEN},
        {"3fff::1", ADDRESS_FORBIDDEN},
        {"3fff:1000::1", ADDRESS_PUBLIC},
        {"4000::1", ADDRESS_FORBIDDEN},
        {"fbff::1", ADDRESS_FORBIDDEN},
        {"fc00::1", ADDRESS_PRIVATE},
        {"fdff:ffff::1", ADDRESS_PRIVATE},
        {"fd00:ec2::254",
         ADDRESS_PRIVATE}, /* the metadata service's IPv6 address lies in the private range */
        {"fe80::1", ADDRESS_FORBIDDEN},
        {"fec0::1", ADDRESS_FORBIDDEN},
        {"ff02::1", ADDRESS_FORBIDDEN},
        {"", ADDRESS_FORBIDDEN},
        {"127.1", ADDRESS_FORBIDDEN},
        {"fe80::1%eth0", ADDRESS_FORBIDDEN},
};

static void kinds_by_text(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                enum address_kind kind = address_kind_text(table[i].address);
                if (kind != table[i].kind)
                        print_error("%s: %d\n", table[i].address, (int)kind);
                assert_int_equal(kind, table[i].kind);
        }
}

static bool socket_address(const char *text, struct sockaddr_storage *storage) {
        struct sockaddr_in in4 = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        memset(storage, 0, sizeof *storage);
        if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
                memcpy(storage, &in4, sizeof in4);
        else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
                memcpy(storage, &in6, sizeof in6);
        else
                return false;
        return true;
}

static void kinds_by_socket_address(void **state) {
        (void)state;
        struct sockaddr_storage storage;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
                if (socket_address(table[i].address, &storage))
                        assert_int_equal(address_kind((struct sockaddr *)&storage), table[i].kind);
        memset(&storage, 0, sizeof storage);
        storage.ss_family = AF_UNIX;
        assert_int_equal(address_kind((struct sockaddr *)&storage), ADDRESS_FORBIDDEN);
}

static void own_addresses(void **state) {
        (void)state;
        struct sockaddr_storage storage;
        assert_true(socket_address("127.0.0.1", &storage));
        assert_true(address_own((struct sockaddr *)&storage));
        assert_true(socket_address("203.0.113.77", &storage));
        assert_false(address_own((struct sockaddr *)&storage));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kinds_by_text),
                cmocka_unit_test(kinds_by_socket_address),
                cmocka_unit_test(own_addresses),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
