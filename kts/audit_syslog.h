// SPDX-License-Identifier: Apache-2.0
// A copy of the audit records for syslog or journald: best effort, never waited for.
#ifndef KTS_AUDIT_SYSLOG_H
#define KTS_AUDIT_SYSLOG_H

#include <stddef.h>

// Makes the socket; to be called before the sandbox, behind which none can be made. Without it no
// copies are sent.
void kts_audit_syslog_open(void);
// Where copies go from now on: the path of a datagram socket, "" for nowhere.
void kts_audit_syslog_set(const char *path);
// Sends a copy of each line of a batch that is on disk.
void kts_audit_syslog_send(const char *lines, size_t n);

#endif
