#pragma once
/*
 * Which addresses an input by reference may be fetched from. A URL that a job brings must not reach what only
 * we can reach: this machine, the private network, the metadata service of a cloud. The check is on the
 * address of the socket, after all names, redirects and spellings of numbers. Source of the ranges: the IANA
 * special-purpose registries for IPv4 and IPv6, reference reliability_performance.md A7.
 */
#include <stdbool.h>

struct sockaddr;

enum address_kind {
        ADDRESS_PUBLIC,
        ADDRESS_PRIVATE,   /* this machine, private networks: only where the configuration allows it */
        ADDRESS_FORBIDDEN, /* link-local (metadata), multicast, reserved, translated: never */
};

/* IPv4 within IPv6 counts as what it is. Families other than these two are forbidden. */
enum address_kind address_kind(const struct sockaddr *address);
/* The same for "192.0.2.1" or "2001:db8::1"; forbidden when it is neither. */
enum address_kind address_kind_text(const char *text);
/* One of this machine's own addresses, which may be public ones. Asks the kernel. */
bool address_own(const struct sockaddr *address);
