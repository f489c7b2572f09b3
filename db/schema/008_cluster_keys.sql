-- SPDX-License-Identifier: Apache-2.0
-- What names a cluster's keys. The OpenPGP keys that followed the cluster's first one, each with the statement by which the key
-- before it names it (docs/formats.md). Kept for ever: clients that were away follow them.
CREATE TABLE cluster_keys (
    number      integer PRIMARY KEY CHECK (number BETWEEN 1 AND 64),
    fingerprint text COLLATE "C" NOT NULL UNIQUE CHECK (fingerprint ~ '^[0-9A-F]{40}$'),
    before      text COLLATE "C" NOT NULL CHECK (before ~ '^[0-9A-F]{40}$'), -- that named it
    statement   text NOT NULL CHECK (octet_length(statement) <= 32768),
    made_at     timestamptz NOT NULL
);
GRANT SELECT ON cluster_keys TO kts_reader, kts_writer, kts_agent;
GRANT INSERT ON cluster_keys TO kts_writer;

-- SHA-256 of the CA's root that the code names, and that has signed an operator's certificate: they end
-- with it. NULL for those of before; a node's certificate is asked for it itself.
ALTER TABLE auth_codes ADD COLUMN ca_sha256 bytea CHECK (octet_length(ca_sha256) = 32);
ALTER TABLE node_certificates ADD COLUMN ca_sha256 bytea CHECK (octet_length(ca_sha256) = 32);
