#pragma once
/*
 * What was taken of a limit that holds in any window (schemas/quotas.def), in a form that outlives a limiter:
 * by the sub-windows of the wall clock. Who reads it may be another process, with another configuration.
 */
#include "broker/base/bytes.h"

enum quota {
#define QUOTA(member, unit, window) QUOTA_##member,
#include "schemas/quotas.def"
#undef QUOTA
        QUOTAS_COUNT,
};

/* Whose limit it is. */
enum quota_of { QUOTA_OF_PROVIDER, QUOTA_OF_ENDPOINT, QUOTA_OF_WORKSPACE, QUOTA_OF_COUNT };

struct quota_use {
        enum quota_of of;
        uint32_t index; /* in the catalog */
        enum quota quota;
        uint32_t place;        /* of the sub-window among those of the limiter's ring, which are fewer */
        int64_t until_unix_ms; /* the amount was taken in the sub-window that ends then */
        int64_t amount;
        int64_t opened; /* will be taken by attempts that are opened, whenever these are called */
};

enum { QUOTA_NAME_MAX = 256 };

/* The same for who keeps it, by name. */
struct quota_row {
        enum quota_of of;
        struct bytes name; /* of the provider, endpoint or workspace: longer ones are cut */
        enum quota quota;
        uint32_t place; /* of each there is one row */
        int64_t until_unix_ms, amount, opened;
};

const char *quota_text(enum quota quota);
bool quota_from_text(struct bytes text, enum quota *out_quota);
