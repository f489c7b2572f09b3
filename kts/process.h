// SPDX-License-Identifier: Apache-2.0
// The processes of the server, what each is given at its start, and how the master speaks to them.
#ifndef KTS_PROCESS_H
#define KTS_PROCESS_H

#include "kts/meter.h"
#include "kts/status.h"
#include "lib/buf.h"
#include "lib/cluster_info.h"
#include "lib/paths.h"
#include "lib/secret.h"
#include "lib/settings.h"
#include "lib/tls.h"

enum kts_process {
    KTS_MASTER = 0,
    KTS_AUDIT,
    KTS_AGENT,
    KTS_WRITER,
    KTS_WORKER,
    KTS_DOOR,
    KTS_PROCESS_COUNT
};
const char *kts_process_name(enum kts_process process); // "audit", "worker", ...

// Links that exist (made by the master; when one side is replaced, the other gets a new one):
//   worker-writer, worker-audit, writer-audit, writer-agent, agent-audit, agent-writer, door-agent.
// writer-agent carries SIGN; agent-writer carries CHANGE: two sockets, so that each has one asker.
// The name is asker first: `kind` below is the asker's process.
struct kts_start {
    enum kts_process process;
    int index; // of the worker, from 0
    const struct kt_paths *paths;
    struct kt_cluster_info *info; // its OpenPGP key changes by a reload
    struct kt_settings *settings; // owned by the child from the fork on
    struct kts_status *status;
    const struct kts_audit_page *audit_page;
    struct kts_audit_page *own_audit_page; // the audit process; NULL otherwise
    struct kts_meter *meter;               // of all workers
    int control_fd;                        // SOCK_SEQPACKET to the master
    int listen_fd;                         // workers and the door; -1 otherwise
    int started_as_root; // workers then have the owner's effective ids, root's as the real ones,
                         // and become [server] network_user
    // TLS material as bytes (PEM), read by the master, since these processes cannot open files:
    // workers have the server's, the door the node's
    struct kt_buf tls_cert;
    struct kt_secret *tls_key;
    struct kt_buf ca_cert;
    struct kt_tls_tickets tickets;
};

// Messages on the control socket; one datagram each, at most 192 KiB, a descriptor may go with it.
enum kts_control_type {
    KTS_CTL_LINK = 1, // master -> child: a link's descriptor; payload u8 asker, u8 other, u16 index
                      // of the worker (0 when none takes part)
    // master -> child: blocks settings text, certificate, key (the writer: receipt key), CA cert,
    // the fingerprint of the cluster's OpenPGP key;
    // agent -> master, empty: read all of it again
    KTS_CTL_RELOAD,
    KTS_CTL_TICKETS, // master -> worker: both ticket keys
    KTS_CTL_STOP,    // master -> child: finish what is in flight, then exit 0
    KTS_CTL_READY,   // child -> master: serving; u8 1 with a database, 0 without (a writer then
                     // has no permission to write)
    KTS_CTL_DATABASE_LOST, // worker, writer -> master: replace me once it is back
};
#define KTS_CONTROL_MAX (192 * 1024)

struct kts_control_message {
    enum kts_control_type type;
    int fd;                // -1 when none; the receiver owns it
    struct kt_buf payload; // view on a static buffer of the caller's: valid until the next receive
};
int kts_control_send(int control_fd, enum kts_control_type type, const void *payload, size_t n,
                     int fd) KT_MUST_CHECK;
// KT_ERR_AGAIN when nothing is there (the socket is non-blocking), KT_ERR_NETWORK when the master
// (or child) is gone: a child then exits at once.
int kts_control_receive(int control_fd, struct kt_buf *storage,
                        struct kts_control_message *message) KT_MUST_CHECK;

// Exit codes of children that the master understands; anything else is a crash, restarted with
// growing delay (0.1 s to 5 s).
// KTS_EXIT_DATABASE_LOST: restart when the database is up; the writer at once when it waited for a
// permission to write, or when there is another one than that it was started under.
#define KTS_EXIT_DATABASE_LOST 75

// Each runs until it is told to stop; returns the exit code.
int kts_audit_main(struct kts_start *start);
int kts_agent_main(struct kts_start *start);
int kts_writer_main(struct kts_start *start);
int kts_worker_main(struct kts_start *start);
int kts_door_main(struct kts_start *start);

// writer -> agent, payload of KTS_MSG_SIGN.
struct kts_sign_request {
    char common_name[64]; // client UUID
    char organisation[64];
    int64_t lifetime_s;
    const uint8_t *csr; // PEM; points into the buffer it was decoded from
    size_t csr_len;
};
int kts_sign_encode(const struct kts_sign_request *request, struct kt_buf *out) KT_MUST_CHECK;
int kts_sign_decode(struct kt_buf *in, struct kts_sign_request *request) KT_MUST_CHECK;

#endif
