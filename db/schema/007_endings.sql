-- SPDX-License-Identifier: Apache-2.0
-- Whose certificate ends soon is asked every few minutes: by its end, without reading certificates.
CREATE INDEX client_certificates_by_end ON client_certificates (not_after)
    INCLUDE (client_id, created_at) WHERE revoked_at IS NULL;
