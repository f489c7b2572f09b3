-- SPDX-License-Identifier: Apache-2.0
-- The nodes of the cluster, and what their roles may do in PostgreSQL.

-- Where each node is reached, and its node certificate; the agents keep a copy in node/peers.json.
-- A removed node stays listed: its certificate is refused.
CREATE TABLE nodes (
    member          text COLLATE "C" PRIMARY KEY,  -- <node>.<8 hex>; also its role
    address         text NOT NULL,                 -- host name or address, without port
    agent_port      integer NOT NULL CHECK (agent_port BETWEEN 1 AND 65535),
    database_port   integer NOT NULL CHECK (database_port BETWEEN 1 AND 65535),
    https_port      integer NOT NULL CHECK (https_port BETWEEN 1 AND 65535),
    cert_sha256     bytea NOT NULL CHECK (octet_length(cert_sha256) = 32),
    revision        bigint NOT NULL DEFAULT 1,     -- grows with address, ports or certificate
    removed_at      timestamptz,
    joined_at       timestamptz NOT NULL DEFAULT now()
);

-- A row written after an override or with a retired node ends the rows before it.
ALTER TABLE epochs ADD COLUMN ends boolean NOT NULL DEFAULT false;

-- Each member streams under its own role, mapped from its node certificate (pg_hba.conf); all are in
-- this group. Beside streaming it may only read what pg_rewind reads: files of the data directory.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kts_members') THEN
        CREATE ROLE kts_members NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO kts_members', current_database());
END
$$;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
    pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO kts_members;

-- The writer and the agent see who streams, and how far.
GRANT pg_read_all_stats TO kts_agent, kts_writer;
GRANT SELECT ON nodes TO kts_reader, kts_writer, kts_agent;
GRANT SELECT ON node_certificates TO kts_reader;
