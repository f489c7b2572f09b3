// SPDX-License-Identifier: Apache-2.0
// Release policies: their form and bounds, the same for worker, writer and client.
#ifndef KT_RELEASE_H
#define KT_RELEASE_H

#include "lib/change.h"

#define KT_REQUEST_LIFETIME_DEFAULT_S 86400
#define KT_REQUEST_LIFETIME_MIN_S     60
#define KT_REQUEST_LIFETIME_MAX_S     31536000
// A retrieval that was let through may be repeated with its id for so long: an answer that was lost
// is asked for again at once. Later the id is worth nothing.
#define KT_RELEASE_REPEAT_S 300

// 1 when it demands anything.
int kt_release_policy_is_set(const struct kt_release_policy *policy);
// KT_ERR_BAD_REQUEST, with what is wrong in `error`, for a policy that contradicts itself or is out
// of its bounds. None is fine.
int kt_release_policy_check(const struct kt_release_policy *policy,
                            struct kt_error *error) KT_MUST_CHECK;
// 1 when a stored policy is the one that is asked for.
int kt_release_policy_equal(const struct kt_release_policy *a, const struct kt_release_policy *b);
// A justification or comment: 1 to KT_JUSTIFICATION_MAX bytes of valid UTF-8 (RFC 3629) without
// control characters. KT_ERR_INVALID.
int kt_justification_check(const char *text) KT_MUST_CHECK;

#endif
