-- SPDX-License-Identifier: Apache-2.0
-- Retention: who may remove what, and when. Enforced here, so that it holds against the server's own
-- roles too: none of them may write a body but through deposits_purge, and the guard below looks at
-- every change of a deposit, whoever makes it.

-- The highest time that was seen. What is over must be over by the clock and by this row: a clock
-- that is set forward ends no lock. It moves with the clock as long as that moves in steps of at most
-- an hour; after a longer one purges wait until an operator has confirmed the time.
CREATE TABLE clock (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    highest     timestamptz NOT NULL,
    jumped_to   timestamptz,                       -- the clock after a long step, not confirmed yet
    confirmed_at timestamptz,
    confirmed_by text
);

-- What time it is for what ends: locks, and the delay of purges.
CREATE FUNCTION kt_now() RETURNS timestamptz
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT coalesce((SELECT least(highest, clock_timestamp()) FROM clock), '-infinity')
$$;

-- What time it is for what begins: a clock that is set back shortens no delay.
CREATE FUNCTION kt_latest() RETURNS timestamptz
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT greatest((SELECT highest FROM clock), clock_timestamp())
$$;

-- Looks at the clock. Returns false while purges wait for the time to be confirmed.
CREATE FUNCTION clock_see() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    now_is timestamptz := clock_timestamp();
    seen clock;
BEGIN
    SELECT * INTO seen FROM clock FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO clock (highest) VALUES (now_is);
        RETURN true;
    END IF;
    IF now_is > seen.highest + interval '1 hour' THEN
        IF seen.jumped_to IS NULL THEN
            UPDATE clock SET jumped_to = now_is;
        END IF;
        RETURN false;
    END IF;
    UPDATE clock SET highest = greatest(highest, now_is), jumped_to = NULL
        WHERE now_is > highest OR jumped_to IS NOT NULL;
    RETURN true;
END
$$;

-- An operator says that the clock is right.
CREATE FUNCTION clock_confirm(by_whom text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    INSERT INTO clock (highest, confirmed_at, confirmed_by)
        VALUES (clock_timestamp(), clock_timestamp(), by_whom)
        ON CONFLICT (singleton) DO UPDATE SET highest = greatest(clock.highest, excluded.highest),
            jumped_to = NULL, confirmed_at = excluded.confirmed_at,
            confirmed_by = excluded.confirmed_by
$$;

-- lock_default is '<governance|compliance> <n>d', or NULL.
ALTER TABLE organisations ADD COLUMN purge_delay interval NOT NULL DEFAULT '7 days'
    CHECK (purge_delay >= interval '0');
ALTER TABLE organisations ADD CHECK
    (lock_default ~ '^(governance|compliance) [1-9][0-9]{0,4}d$');

ALTER TABLE deposits
    ADD COLUMN lock_by uuid,                       -- who set the lock or the hold, or lifted it
    ADD COLUMN purge_by uuid,                      -- who asked for the purge
    ADD CHECK ((lock_mode IS NULL) = (lock_until IS NULL)),
    ADD CHECK (purge_after IS NULL OR deleted_at IS NOT NULL),
    ADD CHECK ((body IS NULL) = (purged_at IS NOT NULL));
CREATE INDEX deposits_to_purge ON deposits (purge_after)
    WHERE purge_after IS NOT NULL AND purged_at IS NULL;

-- Whether a grant that is in force lets this client do that with that deposit.
CREATE FUNCTION deposit_granted(client uuid, d deposits, wanted text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT EXISTS (SELECT FROM clients c JOIN grants g ON g.organisation_id = c.organisation_id
        WHERE c.client_id = client AND c.state = 'active' AND c.organisation_id = d.organisation_id
        AND g.access = wanted AND g.revoked_at IS NULL
        AND (g.client_id = c.client_id OR g.client_id IS NULL)
        AND CASE g.object WHEN 'own' THEN d.client_id = c.client_id
            WHEN 'prefix' THEN starts_with(d.handle, g.prefix)
            ELSE g.key_group_id IS NOT DISTINCT FROM d.key_group_id END)
$$;

-- What may become of a deposit. Raises KT001 (locked) or KT002 (never). The right "bypass" is looked
-- up here, but who asks is the writer's word: a writer that was taken over may lift a governance lock
-- or a hold in the name of a client that has the right. It cannot shorten a compliance lock.
CREATE FUNCTION deposits_guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    time_is timestamptz := kt_now();
    in_force boolean;
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'deposits are never removed' USING ERRCODE = 'KT002';
    END IF;
    IF OLD.purged_at IS NOT NULL THEN
        RAISE EXCEPTION 'the deposit was purged' USING ERRCODE = 'KT002';
    END IF;
    IF (NEW.deposit_id, NEW.organisation_id, NEW.client_id, NEW.handle, NEW.version,
        NEW.content_type, NEW.sha256, NEW.size, NEW.key_group_id, NEW.log_index, NEW.incarnation,
        NEW.epoch, NEW.deposited_at, NEW.w, NEW.receipt_key_id, NEW.receipt_signature)
        IS DISTINCT FROM
       (OLD.deposit_id, OLD.organisation_id, OLD.client_id, OLD.handle, OLD.version,
        OLD.content_type, OLD.sha256, OLD.size, OLD.key_group_id, OLD.log_index, OLD.incarnation,
        OLD.epoch, OLD.deposited_at, OLD.w, OLD.receipt_key_id, OLD.receipt_signature) THEN
        RAISE EXCEPTION 'what was deposited never changes' USING ERRCODE = 'KT002';
    END IF;
    in_force := OLD.lock_mode IS NOT NULL AND OLD.lock_until > time_is;

    -- the lock: a compliance lock only grows; a governance lock, and a hold, give way to the right
    -- "bypass" of the client that lifts it
    IF in_force AND OLD.lock_mode = 'compliance' AND NOT coalesce
        (NEW.lock_mode = 'compliance' AND NEW.lock_until >= OLD.lock_until, false) THEN
        RAISE EXCEPTION 'a compliance lock can only be made longer' USING ERRCODE = 'KT001';
    END IF;
    IF ((in_force AND NOT coalesce(NEW.lock_until >= OLD.lock_until, false))
        OR (OLD.legal_hold AND NOT NEW.legal_hold))
        AND NOT coalesce(deposit_granted(NEW.lock_by, OLD, 'bypass'), false) THEN
        RAISE EXCEPTION 'the lock can be lifted with the right "bypass" only'
            USING ERRCODE = 'KT001';
    END IF;

    -- what is locked is neither deleted nor purged
    IF (in_force OR OLD.legal_hold) AND OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'the deposit is locked' USING ERRCODE = 'KT001';
    END IF;
    -- the delay begins when the purge is asked for, whatever is written (a minute for statements
    -- that had to wait)
    IF OLD.purge_after IS NOT NULL AND NEW.deleted_at IS NOT NULL
        AND (NEW.purge_after IS NULL OR NEW.purge_after < OLD.purge_after) THEN
        RAISE EXCEPTION 'a purge is not brought forward' USING ERRCODE = 'KT002';
    END IF;
    IF NEW.purge_after IS DISTINCT FROM OLD.purge_after AND NEW.purge_after IS NOT NULL
        AND NEW.purge_after < kt_latest() - interval '1 minute' + (SELECT purge_delay
            FROM organisations o WHERE o.organisation_id = OLD.organisation_id) THEN
        RAISE EXCEPTION 'a purge has its delay' USING ERRCODE = 'KT002';
    END IF;
    IF NEW.body IS DISTINCT FROM OLD.body OR NEW.purged_at IS DISTINCT FROM OLD.purged_at THEN
        IF in_force OR OLD.legal_hold THEN
            RAISE EXCEPTION 'the deposit is locked' USING ERRCODE = 'KT001';
        END IF;
        IF NEW.body IS NOT NULL OR NEW.purged_at IS NULL OR OLD.purged_at IS NOT NULL
            OR OLD.deleted_at IS NULL OR NEW.deleted_at IS NULL
            OR OLD.purge_after IS NULL OR OLD.purge_after > time_is
            OR EXISTS (SELECT FROM clock WHERE jumped_to IS NOT NULL) THEN
            RAISE EXCEPTION 'the deposit is not to be purged now' USING ERRCODE = 'KT002';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER deposits_guard BEFORE UPDATE OR DELETE ON deposits
    FOR EACH ROW EXECUTE FUNCTION deposits_guard();
CREATE TRIGGER deposits_never_truncated BEFORE TRUNCATE ON deposits
    FOR EACH STATEMENT EXECUTE FUNCTION deposits_guard();

-- Erases the bodies of those of the named deposits ($1 their organisations, $2 their ids) whose
-- purge is due, and gives them back; the rows and hashes stay. The only way to a body: no role may
-- write the column. They are named so that whoever calls has made their records before.
CREATE FUNCTION deposits_purge(uuid[], uuid[])
    RETURNS TABLE (organisation uuid, deposit uuid)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF NOT clock_see() THEN
        RETURN;
    END IF;
    RETURN QUERY
        UPDATE deposits d SET body = NULL, purged_at = kt_now()
            FROM unnest($1, $2) AS named (organisation_id, deposit_id)
            WHERE d.organisation_id = named.organisation_id AND d.deposit_id = named.deposit_id
            AND d.purge_after <= kt_now() AND d.purged_at IS NULL AND d.deleted_at IS NOT NULL
            AND NOT d.legal_hold AND (d.lock_mode IS NULL OR d.lock_until <= kt_now())
            RETURNING d.organisation_id, d.deposit_id;
END
$$;

REVOKE EXECUTE ON FUNCTION clock_see(), clock_confirm(text), deposits_purge(uuid[], uuid[]),
    deposit_granted(uuid, deposits, text), deposits_guard(), kt_now(), kt_latest() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kt_now(), kt_latest() TO kts_reader, kts_writer, kts_agent;
GRANT EXECUTE ON FUNCTION clock_see(), clock_confirm(text), deposits_purge(uuid[], uuid[])
    TO kts_writer;
GRANT SELECT ON clock TO kts_reader, kts_writer, kts_agent;
GRANT UPDATE (purge_delay) ON organisations TO kts_writer;
GRANT SELECT (lock_by, purge_by) ON deposits TO kts_writer, kts_agent;
GRANT UPDATE (lock_mode, lock_until, legal_hold, lock_by, purge_after, purge_by) ON deposits
    TO kts_writer;
