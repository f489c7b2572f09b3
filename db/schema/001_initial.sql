-- SPDX-License-Identifier: Apache-2.0
-- The first schema. Applied once, in one transaction, as the owner of the database; recorded in
-- schema_version; never edited after a release. Columns that later work needs stand here already,
-- so that no table has to be rebuilt.

CREATE TABLE schema_version (
    version     integer PRIMARY KEY,
    file        text NOT NULL,
    sha256      bytea NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

-- One row: which cluster this database belongs to, and whether it may be written to.
-- state: 'normal', or 'restored' after a restore by hand (reads only until it is adopted).
CREATE TABLE cluster (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    cluster_id  uuid NOT NULL,
    state       text NOT NULL DEFAULT 'normal' CHECK (state IN ('normal', 'restored')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Incarnations: a new one with each restore from a backup, with the statement that the cluster's
-- OpenPGP key signed (none for the first).
CREATE TABLE incarnations (
    number      integer PRIMARY KEY CHECK (number > 0),
    bits        bytea NOT NULL CHECK (octet_length(bits) = 8),
    statement   bytea,
    started_at  timestamptz NOT NULL DEFAULT now()
);

-- Insert-only rows of the failover protocol: who is active, who counts, and how many of them.
CREATE TABLE epochs (
    incarnation integer NOT NULL REFERENCES incarnations (number),
    epoch       bigint NOT NULL CHECK (epoch > 0),
    sequence    integer NOT NULL CHECK (sequence > 0),
    active      text COLLATE "C" NOT NULL,         -- member: <node>.<8 hex>
    members     text[] COLLATE "C" NOT NULL,     -- apart from the active
    w           integer NOT NULL CHECK (w >= 0 AND w <= cardinality(members)),
    start_lsn   pg_lsn NOT NULL,
    timeline    integer NOT NULL,
    note        text,                              -- an override that was used, or a retired node
    written_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (incarnation, epoch, sequence)
);

CREATE TABLE organisations (
    organisation_id uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    contacts        text[] NOT NULL DEFAULT '{}',
    needs_approval  boolean NOT NULL DEFAULT false,
    disabled_at     timestamptz,
    lock_default    text,                          -- retention given to new deposits
    policy          jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL
);

CREATE TABLE auth_codes (
    code_id         text PRIMARY KEY COLLATE "C",
    organisation_id uuid NOT NULL REFERENCES organisations,
    secret_sha256   bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    max_uses        integer NOT NULL CHECK (max_uses > 0),
    uses            integer NOT NULL DEFAULT 0 CHECK (uses >= 0 AND uses <= max_uses),
    rights          text[] NOT NULL,               -- granted on own deposits at registration
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL
);

CREATE TABLE clients (
    client_id       uuid PRIMARY KEY,
    organisation_id uuid NOT NULL REFERENCES organisations,
    name            text COLLATE "C" NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'active', 'revoked')),
    code_id         text REFERENCES auth_codes,
    created_at      timestamptz NOT NULL,
    approved_at     timestamptz,
    approved_by     text,
    revoked_at      timestamptz,
    revoked_by      text
);
CREATE INDEX clients_by_organisation ON clients (organisation_id, client_id);

CREATE TABLE client_certificates (
    sha256          bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
    client_id       uuid NOT NULL REFERENCES clients,
    key_sha256      bytea NOT NULL CHECK (octet_length(key_sha256) = 32),
    certificate     text NOT NULL,                 -- PEM
    not_after       timestamptz NOT NULL,
    revoked_at      timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE INDEX client_certificates_by_client ON client_certificates (client_id);
CREATE INDEX client_certificates_by_key ON client_certificates (key_sha256);

CREATE TABLE client_openpgp_keys (
    fingerprint     text COLLATE "C" NOT NULL CHECK (fingerprint ~ '^[0-9A-F]{40}$'),
    client_id       uuid NOT NULL REFERENCES clients,
    public_key      bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    retired_at      timestamptz,
    PRIMARY KEY (fingerprint, client_id)
);
CREATE INDEX client_openpgp_keys_by_client ON client_openpgp_keys (client_id);

-- Nodes and operators are known by listed certificates, not by the CA's signature alone.
CREATE TABLE node_certificates (
    sha256          bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
    kind            text NOT NULL CHECK (kind IN ('node', 'operator')),
    name            text COLLATE "C" NOT NULL,
    not_after       timestamptz NOT NULL,
    revoked_at      timestamptz,
    created_at      timestamptz NOT NULL
);

CREATE TABLE receipt_keys (
    key_id          bytea PRIMARY KEY CHECK (octet_length(key_id) = 8),
    certificate     text NOT NULL,                 -- PEM, signed by the cluster's CA
    created_at      timestamptz NOT NULL,
    retired_at      timestamptz
);

CREATE TABLE key_groups (
    key_group_id    uuid PRIMARY KEY,
    organisation_id uuid NOT NULL REFERENCES organisations,
    name            text COLLATE "C",
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL
);

-- Who (one client, or with client_id NULL every client of the organisation) may do what on which
-- deposits of the organisation: its own, those under a handle prefix, or those of a key group.
CREATE TABLE grants (
    grant_id        uuid PRIMARY KEY,
    organisation_id uuid NOT NULL REFERENCES organisations,
    client_id       uuid REFERENCES clients,
    object          text NOT NULL CHECK (object IN ('own', 'prefix', 'key_group')),
    prefix          text COLLATE "C",
    key_group_id    uuid REFERENCES key_groups,
    access          text NOT NULL CHECK (access IN
        ('deposit', 'browse', 'retrieve', 'delete', 'undelete', 'purge', 'lock', 'bypass')),
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    revoked_at      timestamptz,
    revoked_by      text,
    CHECK ((object = 'prefix') = (prefix IS NOT NULL)),
    CHECK ((object = 'key_group') = (key_group_id IS NOT NULL))
);
CREATE UNIQUE INDEX grants_in_force ON grants
    (organisation_id, client_id, object, prefix, key_group_id, access) NULLS NOT DISTINCT
    WHERE revoked_at IS NULL;
CREATE INDEX grants_by_subject ON grants (organisation_id, access, client_id) WHERE revoked_at IS NULL;

-- The deposits. A body is written once; only the purge function of the owner may later set it to
-- NULL, its hash stays. Bodies up to about 3.7 KB stay in the row; ciphertext does not compress.
CREATE TABLE deposits (
    deposit_id      uuid NOT NULL,
    organisation_id uuid NOT NULL REFERENCES organisations,
    client_id       uuid NOT NULL REFERENCES clients,
    handle          text COLLATE "C" NOT NULL CHECK (octet_length(handle) BETWEEN 1 AND 255),
    version         integer NOT NULL CHECK (version > 0),
    content_type    text COLLATE "C" NOT NULL,
    body            bytea,
    sha256          bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size            bigint NOT NULL CHECK (size > 0),
    key_group_id    uuid REFERENCES key_groups,
    log_index       bigint NOT NULL CHECK (log_index > 0),
    incarnation     integer NOT NULL REFERENCES incarnations (number),
    epoch           bigint NOT NULL CHECK (epoch > 0),
    deposited_at    timestamptz NOT NULL,
    w               integer NOT NULL CHECK (w >= 0),
    receipt_key_id  bytea NOT NULL REFERENCES receipt_keys,
    receipt_signature bytea NOT NULL CHECK (octet_length(receipt_signature) = 64),
    deleted_at      timestamptz,
    deleted_by      uuid,
    lock_mode       text CHECK (lock_mode IN ('governance', 'compliance')),
    lock_until      timestamptz,
    legal_hold      boolean NOT NULL DEFAULT false,
    purge_after     timestamptz,
    purged_at       timestamptz,
    PRIMARY KEY (organisation_id, deposit_id),
    UNIQUE (organisation_id, handle, version),
    UNIQUE (log_index),
    CHECK (body IS NOT NULL OR purged_at IS NOT NULL)
) WITH (toast_tuple_target = 4080, fillfactor = 95);
ALTER TABLE deposits ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX deposits_by_client ON deposits (organisation_id, client_id, handle, version);

-- What changed who may do what, in the transaction of the change.
CREATE TABLE change_log (
    change_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at      timestamptz NOT NULL,
    event           text NOT NULL,
    organisation_id uuid,
    client_id       uuid,
    by_whom         text NOT NULL,
    detail          jsonb NOT NULL
);

-- --- roles: the least that each process needs ---
-- kts_reader (workers): reads. kts_writer: inserts and the few columns that may change; no body.
-- kts_agent: reads for ktadmin and status. All are made, with their secrets, by init.

GRANT USAGE ON SCHEMA public TO kts_reader, kts_writer, kts_agent;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

GRANT SELECT ON cluster, incarnations, epochs, organisations, clients, client_certificates,
    client_openpgp_keys, receipt_keys, key_groups, grants, deposits TO kts_reader;

GRANT SELECT ON schema_version, cluster, incarnations, epochs, organisations, auth_codes, clients,
    client_certificates, client_openpgp_keys, node_certificates, receipt_keys, key_groups, grants
    TO kts_writer;
GRANT SELECT (deposit_id, organisation_id, client_id, handle, version, content_type, sha256, size,
    key_group_id, log_index, incarnation, epoch, deposited_at, w, receipt_key_id, receipt_signature,
    deleted_at, deleted_by, lock_mode, lock_until, legal_hold, purge_after, purged_at)
    ON deposits TO kts_writer;
GRANT INSERT ON organisations, auth_codes, clients, client_certificates, client_openpgp_keys,
    node_certificates, receipt_keys, key_groups, grants, deposits, change_log TO kts_writer;
GRANT UPDATE (contacts, needs_approval, disabled_at, lock_default, policy) ON organisations TO kts_writer;
GRANT UPDATE (uses, revoked_at) ON auth_codes TO kts_writer;
GRANT UPDATE (state, approved_at, approved_by, revoked_at, revoked_by) ON clients TO kts_writer;
GRANT UPDATE (revoked_at) ON client_certificates, node_certificates TO kts_writer;
GRANT UPDATE (retired_at) ON client_openpgp_keys, receipt_keys TO kts_writer;
GRANT UPDATE (revoked_at, revoked_by) ON grants TO kts_writer;
GRANT UPDATE (deleted_at, deleted_by) ON deposits TO kts_writer;

GRANT SELECT ON schema_version, cluster, incarnations, epochs, organisations, clients,
    client_certificates, client_openpgp_keys, node_certificates, receipt_keys, key_groups, grants,
    change_log TO kts_agent;
GRANT SELECT (code_id, organisation_id, max_uses, uses, rights, expires_at, revoked_at, created_at,
    created_by) ON auth_codes TO kts_agent;
GRANT SELECT (deposit_id, organisation_id, client_id, handle, version, content_type, sha256, size,
    key_group_id, log_index, incarnation, epoch, deposited_at, w, receipt_key_id, receipt_signature,
    deleted_at, deleted_by, lock_mode, lock_until, legal_hold, purge_after, purged_at)
    ON deposits TO kts_agent;

-- What PostgreSQL lets everybody do, and a taken-over process could use to fill the disk or to keep
-- the next writer from opening.
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea),
    lo_put(oid, bigint, bytea), lo_open(oid, integer), lowrite(integer, bytea), lo_unlink(oid),
    pg_logical_emit_message(boolean, text, text), pg_logical_emit_message(boolean, text, bytea),
    pg_advisory_lock(bigint), pg_advisory_lock(integer, integer),
    pg_advisory_lock_shared(bigint), pg_advisory_lock_shared(integer, integer),
    pg_advisory_xact_lock(bigint), pg_advisory_xact_lock(integer, integer),
    pg_advisory_xact_lock_shared(bigint), pg_advisory_xact_lock_shared(integer, integer),
    pg_try_advisory_lock(bigint), pg_try_advisory_lock(integer, integer),
    pg_try_advisory_lock_shared(bigint), pg_try_advisory_lock_shared(integer, integer),
    pg_try_advisory_xact_lock(bigint), pg_try_advisory_xact_lock(integer, integer),
    pg_try_advisory_xact_lock_shared(bigint), pg_try_advisory_xact_lock_shared(integer, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text),
    pg_try_advisory_lock(bigint) TO kts_writer;
