-- SPDX-License-Identifier: Apache-2.0
-- The Merkle log over deposits (RFC 6962 hashing). Leaf n - 1 is the deposit with log_index n. Its
-- hash is computed from its row, so that a row that was changed shows.

-- Roots of whole subtrees of 256^level leaves: leaves position * 256^level and on.
CREATE TABLE log_tiles (
    level       integer NOT NULL CHECK (level BETWEEN 1 AND 6),
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

-- The leaf's text (docs/formats.md) behind a zero byte, hashed. It takes columns, not the row: that
-- would read the body, which the writer may not.
CREATE FUNCTION log_leaf(incarnation integer, bits bytea, epoch bigint, log_index bigint,
    deposit uuid, client uuid, handle text, version integer, body_sha256 bytea, size bigint,
    deposited_at timestamptz) RETURNS bytea
    LANGUAGE sql STABLE AS
$$
    SELECT sha256('\x00'::bytea || convert_to('keytrustee-leaf 1' || E'\n'
        || 'incarnation ' || $1 || '.' || encode($2, 'hex') || E'\n'
        || 'epoch ' || $3 || E'\n'
        || 'index ' || $4 || E'\n'
        || 'deposit ' || $5 || E'\n'
        || 'client ' || $6 || E'\n'
        || 'handle-sha256 ' || encode(sha256(convert_to($7, 'UTF8')), 'hex') || E'\n'
        || 'version ' || $8 || E'\n'
        || 'sha256 ' || encode($9, 'hex') || E'\n'
        || 'size ' || $10 || E'\n'
        || 'time ' || to_char($11 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || E'\n', 'UTF8'))
$$;

-- Hashes of the leaves from `lo` up to, but without, `hi`.
CREATE FUNCTION log_leaves(lo bigint, hi bigint) RETURNS bytea[]
    LANGUAGE sql STABLE AS
$$
    SELECT ARRAY(SELECT log_leaf(d.incarnation, i.bits, d.epoch, d.log_index, d.deposit_id,
            d.client_id, d.handle, d.version, d.sha256, d.size, d.deposited_at)
        FROM deposits d JOIN incarnations i ON i.number = d.incarnation
        WHERE d.log_index > lo AND d.log_index <= hi ORDER BY d.log_index)
$$;

-- The root over neighbours of one height, of which the last may be lower; NULL for none.
CREATE FUNCTION log_fold(nodes bytea[]) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    above bytea[];
    n integer := coalesce(cardinality(nodes), 0);
BEGIN
    WHILE n > 1 LOOP
        above := '{}';
        FOR i IN 1 .. n - 1 BY 2 LOOP
            above := array_append(above, sha256('\x01'::bytea || nodes[i] || nodes[i + 1]));
        END LOOP;
        IF n % 2 = 1 THEN
            above := array_append(above, nodes[n]);
        END IF;
        nodes := above;
        n := cardinality(nodes);
    END LOOP;
    RETURN nodes[1];
END
$$;

-- The root of the leaves from `lo` up to, but without, `hi`: a node of the tree, so `lo` is a
-- multiple of the smallest power of two that is not less than their number. NULL when a leaf or a
-- tile is missing; reads at most 255 of them for each level.
CREATE FUNCTION log_node(lo bigint, hi bigint) RETURNS bytea
    LANGUAGE plpgsql STABLE AS
$$
DECLARE
    part bytea[];
    rest bytea;    -- the root of what is behind the last whole tile of this level
    first bigint;  -- the tiles of this level from here on; those before are in tiles of the next
    behind bigint;
BEGIN
    IF lo IS NULL OR hi IS NULL OR lo < 0 OR lo >= hi THEN
        RETURN NULL;
    END IF;
    FOR tiles IN 0 .. 6 LOOP
        behind := hi >> 8 * tiles;
        first := lo >> 8 * tiles;
        IF behind - first >= 256 THEN
            first := greatest(first, behind >> 8 << 8);
        END IF;
        IF tiles = 0 THEN
            part := log_leaves(first, behind);
        ELSE
            part := ARRAY(SELECT t.hash FROM log_tiles t WHERE t.level = tiles
                AND t.position >= first AND t.position < behind ORDER BY t.position);
        END IF;
        IF cardinality(part) <> behind - first THEN
            RETURN NULL;
        END IF;
        IF rest IS NOT NULL THEN
            part := array_append(part, rest);
        END IF;
        rest := log_fold(part);
        IF first <= lo >> 8 * tiles THEN
            RETURN rest;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- The largest power of two that is less than n (n > 1): where a tree of n leaves is divided.
CREATE FUNCTION log_split(n bigint) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    k bigint := 1;
BEGIN
    WHILE k * 2 < n LOOP
        k := k * 2;
    END LOOP;
    RETURN k;
END
$$;

-- PATH(index - 1, D[size]) of RFC 9162 section 2.1.3.1. NULL when there is no such leaf, or the log
-- is not whole.
CREATE FUNCTION log_inclusion(index bigint, size bigint) RETURNS bytea[]
    LANGUAGE plpgsql STABLE AS
$$
DECLARE
    path bytea[] := '{}';
    lo bigint := 0;
    hi bigint := size;
    middle bigint;
    beside bytea;
BEGIN
    IF index IS NULL OR size IS NULL OR index < 1 OR index > size OR size >= 1::bigint << 53 THEN
        RETURN NULL;
    END IF;
    WHILE hi - lo > 1 LOOP
        middle := lo + log_split(hi - lo);
        IF index <= middle THEN
            beside := log_node(middle, hi);
            hi := middle;
        ELSE
            beside := log_node(lo, middle);
            lo := middle;
        END IF;
        IF beside IS NULL THEN
            RETURN NULL;
        END IF;
        path := array_prepend(beside, path);
    END LOOP;
    RETURN path;
END
$$;

-- PROOF(m, D[n]) of RFC 9162 section 2.1.4.1, 0 < m <= n.
CREATE FUNCTION log_consistency(m bigint, n bigint) RETURNS bytea[]
    LANGUAGE plpgsql STABLE AS
$$
DECLARE
    path bytea[] := '{}';
    lo bigint := 0;
    hi bigint := n;
    middle bigint;
    beside bytea;
BEGIN
    IF m IS NULL OR n IS NULL OR m < 1 OR m > n OR n >= 1::bigint << 53 THEN
        RETURN NULL;
    END IF;
    WHILE m < hi LOOP
        middle := lo + log_split(hi - lo);
        IF m <= middle THEN
            beside := log_node(middle, hi);
            hi := middle;
        ELSE
            beside := log_node(lo, middle);
            lo := middle;
        END IF;
        IF beside IS NULL THEN
            RETURN NULL;
        END IF;
        path := array_prepend(beside, path);
    END LOOP;
    IF lo > 0 THEN
        beside := log_node(lo, hi);
        IF beside IS NULL THEN
            RETURN NULL;
        END IF;
        path := array_prepend(beside, path);
    END IF;
    RETURN path;
END
$$;

-- Makes the tiles that are missing: of deposits that are older than this file, or that were not
-- written by the writer. For the owner.
CREATE FUNCTION log_fill() RETURNS void
    LANGUAGE plpgsql AS
$$
DECLARE
    width bigint;
    size bigint := coalesce((SELECT max(log_index) FROM deposits), 0);
BEGIN
    FOR wanted IN 1 .. 6 LOOP
        width := 1::bigint << 8 * wanted;
        INSERT INTO log_tiles (level, position, hash)
            SELECT wanted, p, log_fold(below.part) FROM generate_series(0, size / width - 1) p,
                LATERAL (SELECT CASE WHEN wanted = 1 THEN log_leaves(p * 256, (p + 1) * 256)
                    ELSE ARRAY(SELECT t.hash FROM log_tiles t WHERE t.level = wanted - 1
                        AND t.position >= p * 256 AND t.position < (p + 1) * 256
                        ORDER BY t.position) END AS part OFFSET 0) below
            WHERE cardinality(below.part) = 256
            ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION log_fill() FROM PUBLIC;
DO $$
BEGIN
    PERFORM log_fill();
END
$$;

GRANT SELECT ON log_tiles, tree_heads TO kts_reader, kts_writer, kts_agent;
GRANT INSERT ON log_tiles, tree_heads TO kts_writer;
GRANT UPDATE (size, root, made_at, receipt_key_id, signature) ON tree_heads TO kts_writer;

-- When the CA's older root ends, the newer one certifies the keys of all receipts anew.
GRANT UPDATE (certificate) ON receipt_keys TO kts_writer;
