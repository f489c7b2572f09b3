-- SPDX-License-Identifier: Apache-2.0
-- The OpenPGP keys that followed the cluster's first one, each with the statement by which the key
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
