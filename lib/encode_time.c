// SPDX-License-Identifier: Apache-2.0
// Times as text (RFC 3339, UTC, six digits), and the clocks.
#include "lib/encode.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define US_PER_S 1000000
// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: beyond them a year has not four digits.
#define FIRST_S INT64_C(-62135596800)
#define LAST_S  INT64_C(253402300799)

void kt_time_format(int64_t us, char out[KT_TIME_TEXT])
{
    int64_t seconds = us / US_PER_S, rest = us % US_PER_S;
    struct tm tm = {0};
    time_t t;

    if (rest < 0) { // the fraction counts forwards before 1970 too
        seconds--;
        rest += US_PER_S;
    }
    if (seconds < FIRST_S) {
        seconds = FIRST_S;
        rest = 0;
    } else if (seconds > LAST_S) {
        seconds = LAST_S;
        rest = US_PER_S - 1;
    }
    t = (time_t)seconds;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, KT_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    // strftime does not pad years below 1000
    if (tm.tm_year + 1900 < 1000)
        n = (size_t)snprintf(out, KT_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u",
                             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
                             (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
                             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    snprintf(out + n, KT_TIME_TEXT - n, ".%06uZ", (unsigned)(rest % US_PER_S));
}

// `n` digits at `text` as a number; the caller has checked that they are digits.
static int digits(const char *text, int n)
{
    int value = 0;

    for (int i = 0; i < n; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

int kt_time_parse(const char *text, int64_t *us)
{
    static const char FORM[] = "0000-00-00T00:00:00.000000Z";
    char again[KT_TIME_TEXT];
    struct tm tm = {0};
    int64_t value;

    if (strnlen(text, sizeof(FORM)) != sizeof(FORM) - 1)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < sizeof(FORM) - 1; i++) {
        int ok = FORM[i] == '0' ? text[i] >= '0' && text[i] <= '9' : text[i] == FORM[i];
        if (!ok)
            return KT_ERR_INVALID;
    }
    tm.tm_year = digits(text, 4) - 1900;
    tm.tm_mon = digits(text + 5, 2) - 1;
    tm.tm_mday = digits(text + 8, 2);
    tm.tm_hour = digits(text + 11, 2);
    tm.tm_min = digits(text + 14, 2);
    tm.tm_sec = digits(text + 17, 2);
    value = (int64_t)timegm(&tm) * US_PER_S + digits(text + 20, 6);
    // timegm takes the 31st of February for the 3rd of March; only real times survive the way back
    kt_time_format(value, again);
    if (strcmp(again, text) != 0)
        return KT_ERR_INVALID;
    *us = value;
    return 0;
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec ts = {0};

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t kt_time_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t kt_monotonic_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}
