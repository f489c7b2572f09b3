// SPDX-License-Identifier: Apache-2.0
// Messages to systemd.
#include "kts/notify.h"

#ifdef KT_HAVE_SYSTEMD

#include <systemd/sd-daemon.h>

#include "lib/encode.h"

void kts_notify_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void kts_notify_reloading(void)
{
    // The time is what Type=notify-reload waits for.
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)kt_monotonic_now());
}

void kts_notify_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=stopping");
}

void kts_notify_status(const char *status)
{
    sd_notifyf(0, "STATUS=%s", status);
}

uint64_t kts_notify_watchdog_us(void)
{
    uint64_t us = 0;

    return sd_watchdog_enabled(0, &us) > 0 ? us : 0;
}

void kts_notify_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

#else

void kts_notify_ready(const char *status)
{
    (void)status;
}

void kts_notify_reloading(void)
{
}

void kts_notify_stopping(void)
{
}

void kts_notify_status(const char *status)
{
    (void)status;
}

uint64_t kts_notify_watchdog_us(void)
{
    return 0;
}

void kts_notify_alive(void)
{
}

#endif
