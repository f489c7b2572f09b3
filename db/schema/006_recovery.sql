-- SPDX-License-Identifier: Apache-2.0
-- Recovery recipients: public OpenPGP keys to which every deposit of an organisation must be
-- encrypted too. Clients add them, the server refuses a body that lacks one.
CREATE TABLE recovery_keys (
    organisation_id uuid NOT NULL REFERENCES organisations,
    fingerprint     text COLLATE "C" NOT NULL CHECK (fingerprint ~ '^[0-9A-F]{40}$'),
    -- of its parts that encrypt: one of them must be among a body's recipients
    key_ids         bigint[] NOT NULL CHECK (cardinality(key_ids) BETWEEN 1 AND 16),
    public_key      bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    retired_at      timestamptz,
    retired_by      text,
    PRIMARY KEY (organisation_id, fingerprint)
);
GRANT SELECT ON recovery_keys TO kts_reader, kts_writer, kts_agent;
GRANT INSERT ON recovery_keys TO kts_writer;
-- A key that is added again may have new parts, and is in force again.
GRANT UPDATE (key_ids, public_key, retired_at, retired_by) ON recovery_keys TO kts_writer;

-- A name finds one key group.
CREATE UNIQUE INDEX key_groups_by_name ON key_groups (organisation_id, name);
