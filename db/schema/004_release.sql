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

-- A retrieval that waits for votes, or had them.
CREATE TABLE release_requests (
    request_id      uuid PRIMARY KEY,
    organisation_id uuid NOT NULL,
    deposit_id      uuid NOT NULL,
    client_id       uuid NOT NULL REFERENCES clients,
    justification   text,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    state           text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'approved', 'denied', 'used')),
    FOREIGN KEY (organisation_id, deposit_id) REFERENCES deposits (organisation_id, deposit_id)
);
CREATE INDEX release_requests_open ON release_requests (organisation_id, deposit_id, client_id)
    WHERE state IN ('waiting', 'approved');
CREATE INDEX release_requests_by_time ON release_requests (organisation_id, created_at);

CREATE TABLE release_votes (
    request_id      uuid NOT NULL REFERENCES release_requests,
    client_id       uuid NOT NULL REFERENCES clients,
    approves        boolean NOT NULL,
    comment         text,
    voted_at        timestamptz NOT NULL,
    PRIMARY KEY (request_id, client_id)
);

-- Each retrieval that a counting or voting policy let through. The client chooses the id, so that a
-- repeat after a lost answer is the same retrieval.
CREATE TABLE releases (
    release_id      uuid NOT NULL,
    organisation_id uuid NOT NULL,
    deposit_id      uuid NOT NULL,
    client_id       uuid NOT NULL REFERENCES clients,
    request_id      uuid REFERENCES release_requests,
    justification   text,
    released_at     timestamptz NOT NULL,
    PRIMARY KEY (organisation_id, deposit_id, release_id),
    FOREIGN KEY (organisation_id, deposit_id) REFERENCES deposits (organisation_id, deposit_id)
);

GRANT SELECT ON release_policies, release_requests, release_votes, releases
    TO kts_reader, kts_writer, kts_agent;
GRANT INSERT ON release_policies, release_requests, release_votes, releases TO kts_writer;
GRANT UPDATE (state, closed_at) ON release_requests TO kts_writer;
