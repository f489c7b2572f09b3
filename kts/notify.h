// SPDX-License-Identifier: Apache-2.0
// What systemd is told; without it, or built without libsystemd, these do nothing.
#ifndef KTS_NOTIFY_H
#define KTS_NOTIFY_H

#include <stdint.h>

void kts_notify_ready(const char *status);
void kts_notify_reloading(void);
void kts_notify_stopping(void);
void kts_notify_status(const char *status); // one line for `systemctl status`
// How often systemd wants a sign of life, in microseconds; 0: not at all.
uint64_t kts_notify_watchdog_us(void);
void kts_notify_alive(void);

#endif
