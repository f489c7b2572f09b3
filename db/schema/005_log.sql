-- SPDX-License-Identifier: Apache-2.0
-- The Merkle log over deposits (RFC 6962 hashing). Leaf n - 1 is the deposit with log_index n. Its
-- hash is computed from its row, so that a row that was changed shows.

-- Roots of whole subtrees of 256^level leaves: leaves position * 256^level and on.
CREATE TABLE log_tiles (
    level       integer NOT NULL CHECK (level BETWEEN 1 AND 7),
    position    bigint NOT NULL CHECK (position >= 0),
    hash        bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, position)
);

-- The newest signed tree head of each epoch; written with the deposits that it covers.
CREATE TABLE tree_heads (
    incarnation integer NOT NULL REFERENCES incarnations (number),
    epoch       bigint NOT NULL CHECK (epoch > 0),
    size        bigint NOT NULL CHECK (size > 0),
    root        bytea NOT NULL CHECK (octet_length(root) = 32),
    made_at     timestamptz NOT NULL,
    receipt_key_id bytea NOT NULL REFERENCES receipt_keys,
    signature   bytea NOT NULL CHECK (octet_length(signature) = 64),
    PRIMARY KEY (incarnation, epoch)
) WITH (fillfactor = 50);

-- The leaf's text (docs/formats.md) behind a zero byte, hashed.
CREATE FUNCTION log_leaf(d deposits, bits bytea) RETURNS bytea
    LANGUAGE sql STABLE AS
$$
    SELECT sha256('\x00'::bytea || convert_to('keytrustee-leaf 1' || E'\n'
        || 'incarnation ' || d.incarnation || '.' || encode(bits, 'hex') || E'\n'
        || 'epoch ' || d.epoch || E'\n'
        || 'index ' || d.log_index || E'\n'
        || 'deposit ' || d.deposit_id || E'\n'
        || 'client ' || d.client_id || E'\n'
        || 'handle-sha256 ' || encode(sha256(convert_to(d.handle, 'UTF8')), 'hex') || E'\n'
        || 'version ' || d.version || E'\n'
        || 'sha256 ' || encode(d.sha256, 'hex') || E'\n'
        || 'size ' || d.size || E'\n'
        || 'time ' || to_char(d.deposited_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || E'\n', 'UTF8'))
$$;

GRANT SELECT ON log_tiles, tree_heads TO kts_reader, kts_writer, kts_agent;
GRANT INSERT ON log_tiles, tree_heads TO kts_writer;
GRANT UPDATE (size, root, made_at, receipt_key_id, signature) ON tree_heads TO kts_writer;
