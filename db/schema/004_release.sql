-- SPDX-License-Identifier: Apache-2.0
-- Release policies: what must be true before a deposit that has one is handed out, beside the right
-- to retrieve it. Set with the deposit, for ever.

ALTER TABLE deposits ADD COLUMN has_policy boolean NOT NULL DEFAULT false;
GRANT SELECT (has_policy) ON deposits TO kts_writer, kts_agent;

CREATE TABLE release_policies (
    organisation_id uuid NOT NULL,
    deposit_id      uuid NOT NULL,
    not_before      timestamptz,
    not_after       timestamptz,
    max_retrievals  integer CHECK (max_retrievals > 0),
    justification   boolean NOT NULL DEFAULT false, -- the request must have one
    votes           integer NOT NULL DEFAULT 0 CHECK (votes >= 0 AND votes <= cardinality(trustees)),
    trustees        uuid[] NOT NULL DEFAULT '{}',   -- clients of the organisation who may vote
    request_lifetime interval NOT NULL DEFAULT '1 day' CHECK (request_lifetime > interval '0'),
    PRIMARY KEY (organisation_id, deposit_id),
    FOREIGN KEY (organisation_id, deposit_id) REFERENCES deposits (organisation_id, deposit_id),
    CHECK (not_after > not_before)
);

-- A retrieval that waits for votes, or had them. That it is approved is not stored but counted, at
-- each look: see release_tally.
CREATE TABLE release_requests (
    request_id      uuid PRIMARY KEY,
    organisation_id uuid NOT NULL,
    deposit_id      uuid NOT NULL,
    client_id       uuid NOT NULL REFERENCES clients,
    justification   text,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL CHECK (expires_at > created_at),
    closed_at       timestamptz,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'denied', 'used')),
    CHECK ((state = 'waiting') = (closed_at IS NULL)),
    FOREIGN KEY (organisation_id, deposit_id) REFERENCES deposits (organisation_id, deposit_id)
);
CREATE INDEX release_requests_by_deposit
    ON release_requests (organisation_id, deposit_id, client_id, expires_at);
CREATE INDEX release_requests_by_time
    ON release_requests (organisation_id, created_at, request_id);

CREATE TABLE release_votes (
    request_id      uuid NOT NULL REFERENCES release_requests,
    client_id       uuid NOT NULL REFERENCES clients,
    approves        boolean NOT NULL,
    comment         text,
    voted_at        timestamptz NOT NULL,
    PRIMARY KEY (request_id, client_id)
);

-- Each retrieval that a counting or voting policy let through. The client chooses the id, so that a
-- repeat after a lost answer is the same retrieval; another client's id is another retrieval.
CREATE TABLE releases (
    organisation_id uuid NOT NULL,
    deposit_id      uuid NOT NULL,
    client_id       uuid NOT NULL REFERENCES clients,
    release_id      uuid NOT NULL,
    request_id      uuid UNIQUE REFERENCES release_requests, -- an approval is good for one
    justification   text,
    released_at     timestamptz NOT NULL,
    PRIMARY KEY (organisation_id, deposit_id, client_id, release_id),
    FOREIGN KEY (organisation_id, deposit_id) REFERENCES deposits (organisation_id, deposit_id)
);

-- How a request stands now. Only votes of those count who are trustees by the policy, active clients
-- of the organisation, and not the one that asks: a client that is revoked takes its vote with it.
CREATE FUNCTION release_tally(request release_requests, OUT approvals bigint, OUT denials bigint,
    OUT eligible bigint, OUT needed integer, OUT state text)
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS
$$
    SELECT t.approvals, t.denials, t.eligible, p.votes,
        CASE WHEN request.state <> 'waiting' THEN request.state
            WHEN request.expires_at <= now() THEN 'expired'
            WHEN t.approvals >= p.votes THEN 'approved'
            WHEN t.eligible - t.denials < p.votes THEN 'denied'
            ELSE 'waiting' END
    FROM release_policies p
    CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE v.approves) AS approvals,
            count(*) FILTER (WHERE NOT v.approves) AS denials, count(*) AS eligible
        FROM clients c LEFT JOIN release_votes v
            ON v.request_id = request.request_id AND v.client_id = c.client_id
        WHERE c.client_id = ANY (p.trustees) AND c.client_id <> request.client_id
            AND c.organisation_id = p.organisation_id AND c.state = 'active') t
    WHERE p.organisation_id = request.organisation_id AND p.deposit_id = request.deposit_id
$$;
REVOKE EXECUTE ON FUNCTION release_tally(release_requests) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION release_tally(release_requests) TO kts_reader, kts_writer, kts_agent;

GRANT SELECT ON release_policies, release_requests, release_votes, releases
    TO kts_reader, kts_writer, kts_agent;
GRANT INSERT ON release_policies, release_requests, release_votes, releases TO kts_writer;
GRANT UPDATE (state, closed_at) ON release_requests TO kts_writer;
GRANT UPDATE (approves, comment, voted_at) ON release_votes TO kts_writer;
