// SPDX-License-Identifier: Apache-2.0
// Where a node's things are. All follow from the confdir unless a setting says otherwise:
//   BASE/.keytrustee  confdir: settings, identity, keys     BASE/db     PostgreSQL
//   BASE/node         promise file, in no backup            BASE/run    sockets, pid files (0700)
//   BASE/audit        audit files                           BASE/logs   logs
#ifndef KT_PATHS_H
#define KT_PATHS_H

#include "lib/err.h"

#define KT_PATH_MAX        1024
#define KT_DEFAULT_CONFDIR "/var/lib/keytrustee/.keytrustee"
// The longest path of a unix socket that works everywhere (sun_path less the longest file name).
#define KT_SOCKET_DIR_MAX 80

struct kt_paths {
    char confdir[KT_PATH_MAX];
    char base[KT_PATH_MAX];     // the folder above confdir
    char settings[KT_PATH_MAX]; // confdir/keytrustee.conf
    char cluster
        [KT_PATH_MAX]; // confdir/cluster.json: cluster id, name of this node, OpenPGP fingerprint
    char gnupg[KT_PATH_MAX];       // confdir itself: the GnuPG home of the cluster key
    char ca_key[KT_PATH_MAX];      // confdir/ca/key.pem        (agent only)
    char ca_cert[KT_PATH_MAX];     // confdir/ca/cert.pem; all roots that count, and links
    char ca_next_key[KT_PATH_MAX]; // confdir/ca/next-key.pem   (a rotation of the CA has begun)
    char server_key[KT_PATH_MAX];  // confdir/tls/server-key.pem (workers)
    char server_cert[KT_PATH_MAX]; // confdir/tls/server-cert.pem: node certificate, then the CA's
    char node_key[KT_PATH_MAX];    // confdir/tls/node-key.pem   (agent, replication)
    char node_cert[KT_PATH_MAX];
    char receipt_key[KT_PATH_MAX];  // confdir/receipt/key.pem    (writer only)
    char receipt_next[KT_PATH_MAX]; // confdir/receipt/next.pem: what is to follow it, with its
                                    // certificate; only while it is rotated
    char receipt_cert[KT_PATH_MAX];
    char secrets[KT_PATH_MAX];     // confdir/secrets: one file a database role
    char node[KT_PATH_MAX];        // base/node
    char promise[KT_PATH_MAX];     // base/node/promise
    char replication[KT_PATH_MAX]; // base/node/replication: what PostgreSQL is to be
    char peers[KT_PATH_MAX];       // base/node/peers.json
    char tokens[KT_PATH_MAX];      // base/node/tokens.json
    char joining[KT_PATH_MAX];     // base/node/joining: this node asks to become a member
    char audit[KT_PATH_MAX];
    char logs[KT_PATH_MAX];
    char run[KT_PATH_MAX];
    char agent_socket[KT_PATH_MAX]; // run/agent.sock
    char pid_file[KT_PATH_MAX];     // run/kts.pid
    char db[KT_PATH_MAX];           // base/db
};

// `confdir` may be NULL (KEYTRUSTEE_CONFDIR is not read here: that is the client's), relative, or
// the folder above a `.keytrustee`, which then serves. Nothing has to exist. KT_ERR_TOO_LARGE
// with the path and the bound when sockets would not fit.
int kt_paths_resolve(const char *confdir, struct kt_paths *paths,
                     struct kt_error *error) KT_MUST_CHECK;

// Whether a file of the confdir is one that all nodes have in common: a newcomer is handed these
// and takes no others. `inside` is its path in the confdir.
int kt_path_is_shared(const char *inside);

#endif
