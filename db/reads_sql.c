// SPDX-License-Identifier: Apache-2.0
// The statements of the workers' reads.
#include "db/reads_inner.h"
#include "lib/release.h"

// Parameters: $1 certificate's SHA-256, then as each statement says. None of the statements can
// raise for any value of the right type: an error would abort its neighbours in the pipeline.

// The layout is that of the SQL.
// clang-format off

#define WHO                                                                                        \
    "WITH w AS MATERIALIZED ("                                                                     \
    " SELECT c.client_id, c.organisation_id, o.name AS organisation, c.state,"                     \
    "  k.revoked_at IS NOT NULL AS certificate_revoked, k.not_after,"                              \
    "  o.disabled_at IS NOT NULL AS disabled,"                                                     \
    "  c.state = 'active' AND k.revoked_at IS NULL AND o.disabled_at IS NULL"                      \
    "   AND k.not_after > now() AS good"                                                           \
    " FROM client_certificates k JOIN clients c ON c.client_id = k.client_id"                      \
    "  JOIN organisations o ON o.organisation_id = c.organisation_id WHERE k.sha256 = $1) "

#define WHO_COLUMNS                                                                                \
    "w.client_id, w.organisation_id, w.organisation, w.state, w.certificate_revoked,"              \
    " w.not_after, w.disabled"

// Whether a grant of `access` to this client, or to all of its organisation, covers the row `d`.
#define COVERS                                                                                     \
    "CASE g.object WHEN 'own' THEN d.client_id = w.client_id"                                      \
    " WHEN 'prefix' THEN starts_with(d.handle, g.prefix)"                                          \
    " ELSE d.key_group_id IS NOT DISTINCT FROM g.key_group_id END"
#define SUBJECT_HAS(subject, access, object)                                                       \
    "EXISTS (SELECT 1 FROM grants g WHERE g.organisation_id = w.organisation_id"                   \
    " AND g.access = " access " AND g.client_id " subject " AND g.revoked_at IS NULL AND " object  \
    ")"
#define GRANTED(access)                                                                            \
    "(" SUBJECT_HAS("= w.client_id", access, COVERS)                                               \
    " OR " SUBJECT_HAS("IS NULL", access, COVERS) ")"
#define GRANTED_ANYTHING(access)                                                                   \
    "(" SUBJECT_HAS("= w.client_id", access, "true")                                               \
    " OR " SUBJECT_HAS("IS NULL", access, "true") ")"

#define ISO_TIME(column)                                                                           \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

// KT_STATEMENT_MAX; a longer one is no statement.
#define STATEMENT_MAX "32768"

#define STRING(x)      #x
#define VALUE(x)       STRING(x)
#define REPEAT_SECONDS VALUE(KT_RELEASE_REPEAT_S)

#define PRESENT "d.deleted_at IS NULL AND d.purged_at IS NULL"
// What was purged is gone, and said to be: its row is found when there is nothing else.
#define PURGED          "d.purged_at IS NOT NULL"
#define PRESENT_OR_GONE "(d.deleted_at IS NULL OR " PURGED ")"

// Columns behind WHO_COLUMNS, in the order of enum column, the same in all statements on deposits
// (NULL: not asked for).
#define DEPOSIT_COLUMNS                                                                            \
    "d.deposit_id, d.client_id, d.handle, d.version, d.content_type, d.sha256, d.size,"            \
    " d.log_index, d.deposited_at, d.key_group_id"
#define NO_RECEIPT                                                                                 \
    "NULL::int4, NULL::bytea, NULL::int8, NULL::int4, NULL::bytea, NULL::bytea, NULL::bool, "      \
    NO_LOCK
#define NO_LOCK                                                                                    \
    "NULL::text, NULL::timestamptz, NULL::bool, NULL::bool, NULL::timestamptz, NULL::timestamptz"
// What HEAD shows of a lock.
#define HEAD_LOCK                                                                                  \
    "NULL::int4, NULL::bytea, NULL::int8, NULL::int4, NULL::bytea, NULL::bytea, NULL::bool,"       \
    " d.lock_mode, d.lock_until, d.legal_hold, NULL::bool, NULL::timestamptz, NULL::timestamptz"
#define RECEIPT                                                                                    \
    "d.incarnation, i.bits, d.epoch, d.w, d.receipt_key_id, d.receipt_signature,"                  \
    " d.deleted_at IS NOT NULL OR d.purged_at IS NOT NULL, d.lock_mode, d.lock_until,"             \
    " d.legal_hold, coalesce(d.lock_until > kt_now(), false), d.purge_after, d.purged_at"

// The body leaves the table only for a good caller with the right: a second lock behind the
// dispatcher's. OFFSET 0 is a fence: without it the grants would be looked up once for each use of
// a.granted. `rows` selects at most one deposit as d, beside w.
#define ONE_DEPOSIT(access, receipt, joins, version_found, gone, body, release, rows)              \
    WHO "SELECT " WHO_COLUMNS ", " DEPOSIT_COLUMNS ", " receipt ", a.granted,"                     \
    " a.granted OR (d.deposit_id IS NOT NULL AND (" GRANTED("'browse'") " OR " HAS_ONE ")), "      \
    version_found ", " gone ", " body ", d.has_policy, " release                                   \
    " FROM w LEFT JOIN LATERAL (" rows ") d ON true " joins                                        \
    " CROSS JOIN LATERAL (SELECT d.deposit_id IS NOT NULL AND " GRANTED(access) " AS granted"      \
    " OFFSET 0) a"
// Who has a version of the handle knows the name: a newer one of
// somebody else's is refused, not absent.
#define HAS_ONE                                                                                    \
    "EXISTS (SELECT 1 FROM deposits o WHERE o.organisation_id = w.organisation_id"                 \
    " AND o.client_id = w.client_id AND o.handle = d.handle)"
#define BODY(condition)                                                                            \
    "CASE WHEN w.good AND a.granted AND " condition " AND (NOT d.has_policy OR p.verdict = 1)"     \
    " THEN d.body END"
#define NO_BODY         "NULL::bytea"
#define BY_HANDLE       "d.organisation_id = w.organisation_id AND d.handle = $3"
#define LATEST          " ORDER BY d.version DESC LIMIT 1"
#define INCARNATION     "LEFT JOIN incarnations i ON i.number = d.incarnation"

// What the release policy says: enum db_release. Without a policy none is looked for.
#define POLICY                                                                                     \
    "d.has_policy AND p1.organisation_id = w.organisation_id AND p1.deposit_id = d.deposit_id"
#define VERDICT(justified)                                                                         \
    "LEFT JOIN LATERAL (SELECT CASE WHEN p1.not_after <= now() THEN 3"                             \
    "  WHEN p1.not_before > now() THEN 2 WHEN p1.justification AND NOT " justified " THEN 4"       \
    "  WHEN p1.max_retrievals IS NOT NULL OR p1.votes > 0 THEN 5 ELSE 1 END AS verdict"            \
    "  FROM release_policies p1 WHERE " POLICY ") p ON true"
#define NO_RELEASE "NULL::int4"
// A retrieval that the writer let through: the row that it made, of this client, not an old one.
#define RELEASED(id)                                                                               \
    "EXISTS (SELECT 1 FROM releases r WHERE r.organisation_id = w.organisation_id"                 \
    " AND r.deposit_id = d.deposit_id AND r.client_id = w.client_id AND r.release_id = " id        \
    " AND r.released_at > now() - interval '" REPEAT_SECONDS " seconds')"
#define POLICY_JSON                                                                                \
    "(SELECT json_build_object('not_before', " ISO_TIME("p1.not_before") ","                       \
    " 'not_after', " ISO_TIME("p1.not_after") ", 'max_retrievals', p1.max_retrievals,"             \
    " 'retrievals', (SELECT count(*) FROM releases r WHERE r.organisation_id = w.organisation_id"  \
    "  AND r.deposit_id = d.deposit_id),"                                                          \
    " 'justification', p1.justification, 'votes', p1.votes, 'trustees', to_json(p1.trustees),"     \
    " 'request_lifetime', CASE WHEN p1.votes > 0"                                                  \
    "  THEN extract(epoch FROM p1.request_lifetime)::bigint END)::text"                            \
    " FROM release_policies p1 WHERE " POLICY " AND a.granted AND w.good)"

// That version if it is there, else the latest, so that "no such version" can be told from "no
// such deposit".
#define THAT_OR_LATEST(that, latest)                                                               \
    "(SELECT * FROM deposits d WHERE " BY_HANDLE " AND d.version = $4 AND " that ")"               \
    " UNION ALL (SELECT * FROM deposits d WHERE " BY_HANDLE " AND " latest LATEST ") LIMIT 1"
#define LATEST_OR_GONE                                                                             \
    "(SELECT * FROM deposits d WHERE " BY_HANDLE " AND " PRESENT LATEST ")"                        \
    " UNION ALL (SELECT * FROM deposits d WHERE " BY_HANDLE " AND " PURGED LATEST ") LIMIT 1"

// A text or NULL: the log has fewer leaves here than $3; 'null': it has them, and yet no
// proof of `call`, so it is not whole. Nobody but a good caller costs the server a proof.
#define PROOF(numbers, call)                                                                       \
    WHO "SELECT " WHO_COLUMNS ", (SELECT coalesce((SELECT json_build_object(" numbers ", 'proof',"  \
    "  (SELECT coalesce(json_agg(encode(h.hash, 'hex') ORDER BY h.n), '[]')"                       \
    "   FROM unnest(p.path) WITH ORDINALITY AS h (hash, n)))"                                      \
    " FROM (SELECT " call " AS path OFFSET 0) p WHERE p.path IS NOT NULL)::text, 'null')"          \
    " WHERE w.good AND $3 <= (SELECT max(log_index) FROM deposits)) FROM w"

static const struct db_statement STATEMENTS[] = {
    // $2 right, $3 handle
    [GET_LATEST] = {"get_latest",
                    ONE_DEPOSIT("$2", NO_RECEIPT, VERDICT("$4"), "true", PURGED, BODY("true"),
                                "p.verdict", LATEST_OR_GONE),
                    4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_BOOL}},
    // $4 version
    [GET_VERSION] = {"get_version",
                     ONE_DEPOSIT("$2", NO_RECEIPT, VERDICT("$5"), "d.version = $4", PURGED,
                                 BODY("d.version = $4"), "p.verdict",
                                 THAT_OR_LATEST(PRESENT_OR_GONE, PRESENT)),
                     5, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4, DB_OID_BOOL}},
    // $3 deposit id
    [GET_BY_ID] = {"get_by_id",
                   ONE_DEPOSIT("$2", NO_RECEIPT, VERDICT("$4"), "true", PURGED, BODY("true"),
                               "p.verdict",
                               "SELECT * FROM deposits d WHERE d.organisation_id ="
                               " w.organisation_id AND d.deposit_id = $3 AND " PRESENT_OR_GONE),
                   4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_UUID, DB_OID_BOOL}},
    // $3 deposit id, $4 retrieval id
    [GET_RELEASED] = {"get_released",
                      ONE_DEPOSIT("$2", NO_RECEIPT, "", "true", PURGED,
                                  "CASE WHEN w.good AND a.granted AND " RELEASED("$4")
                                  " THEN d.body END", NO_RELEASE,
                                  "SELECT * FROM deposits d WHERE d.organisation_id ="
                                  " w.organisation_id AND d.deposit_id = $3 AND " PRESENT_OR_GONE),
                      4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_UUID, DB_OID_UUID}},
    [HEAD_LATEST] = {"head_latest",
                     ONE_DEPOSIT("$2", HEAD_LOCK, "", "true", PURGED, NO_BODY, NO_RELEASE,
                                 LATEST_OR_GONE),
                     3, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT}},
    [HEAD_VERSION] = {"head_version",
                      ONE_DEPOSIT("$2", HEAD_LOCK, "", "d.version = $4", PURGED, NO_BODY,
                                  NO_RELEASE, THAT_OR_LATEST(PRESENT_OR_GONE, PRESENT)),
                      4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    [RECEIPT_LATEST] = {"receipt_latest",
                        ONE_DEPOSIT("$2", RECEIPT, INCARNATION, "true", "false", NO_BODY,
                                    NO_RELEASE ", " POLICY_JSON,
                                    "SELECT * FROM deposits d WHERE " BY_HANDLE LATEST),
                        3, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT}},
    [RECEIPT_VERSION] = {"receipt_version",
                         ONE_DEPOSIT("$2", RECEIPT, INCARNATION, "d.version = $4", "false", NO_BODY,
                                     NO_RELEASE ", " POLICY_JSON,
                                     THAT_OR_LATEST("true", "true")),
                         4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    // $2 right, $3 after (exclusive), $4 from (inclusive), $5 to (exclusive), $6 limit. Inside the
    // LATERAL the organisation is a constant: rows come in index order, only the versions of one
    // handle are sorted (x: PostgreSQL 15 sorts increments for ORDER BY, not for DISTINCT), and the
    // LIMIT ends the scan.
    [LIST] = {"list",
              WHO "SELECT " WHO_COLUMNS ", " DEPOSIT_COLUMNS ", " NO_RECEIPT ", "
              "a.granted, true, true, false, " NO_BODY ", d.has_policy, " NO_RELEASE
              " FROM w CROSS JOIN LATERAL (SELECT " GRANTED_ANYTHING("$2") " AS granted OFFSET 0) a"
              " LEFT JOIN LATERAL (SELECT DISTINCT ON (x.handle) x.* FROM ("
              "   SELECT d.deposit_id, d.client_id, d.handle, d.version, d.content_type, d.sha256,"
              "    d.size, d.log_index, d.deposited_at, d.has_policy, d.key_group_id FROM deposits d"
              "   WHERE d.organisation_id = w.organisation_id AND d.handle > $3 AND d.handle >= $4"
              "    AND d.handle < $5 AND w.good AND " PRESENT " AND " GRANTED("$2")
              "   ORDER BY d.handle, d.version DESC) x"
              "  ORDER BY x.handle, x.version DESC LIMIT $6) d ON true",
              6, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_TEXT, DB_OID_TEXT, DB_OID_TEXT, DB_OID_INT4}},
    [SELF] = {"self",
              WHO "SELECT " WHO_COLUMNS ", json_build_object('client', c.client_id,"
              " 'name', c.name, 'organisation', w.organisation, 'state', c.state,"
              " 'created', " ISO_TIME("c.created_at") ","
              " 'certificate_not_after', " ISO_TIME("w.not_after") ","
              " 'openpgp', (SELECT coalesce(json_agg(p.fingerprint ORDER BY p.created_at), '[]')"
              "  FROM client_openpgp_keys p"
              "  WHERE p.client_id = w.client_id AND p.retired_at IS NULL),"
              " 'grants', (SELECT coalesce(json_agg(json_build_object('right', g.access,"
              "   'object', g.object, 'prefix', g.prefix, 'key_group', g.key_group_id,"
              "   'key_group_name', kg.name) ORDER BY g.created_at, g.access), '[]') FROM grants g"
              "  LEFT JOIN key_groups kg ON kg.key_group_id = g.key_group_id"
              "  WHERE g.organisation_id = w.organisation_id AND g.revoked_at IS NULL"
              "  AND (g.client_id = w.client_id OR g.client_id IS NULL)),"
              " 'recovery', (SELECT coalesce(json_agg(json_build_object("
              "   'fingerprint', r.fingerprint, 'openpgp',"
              "   translate(encode(r.public_key, 'base64'), E'\\n', ''))"
              "   ORDER BY r.created_at, r.fingerprint), '[]') FROM recovery_keys r"
              "  WHERE r.organisation_id = w.organisation_id AND r.retired_at IS NULL"
              "  AND w.good),"
              " 'receipt_keys', (SELECT coalesce(json_agg(json_build_object("
              "   'id', encode(r.key_id, 'hex'), 'certificate', r.certificate)"
              "   ORDER BY r.created_at), '[]') FROM receipt_keys r))::text"
              " FROM w JOIN clients c ON c.client_id = w.client_id",
              1, {DB_OID_BYTEA}},
    // $2 fingerprint
    [OPENPGP] = {"openpgp",
                 WHO "SELECT " WHO_COLUMNS ", (SELECT p.public_key FROM client_openpgp_keys p"
                 " JOIN clients c ON c.client_id = p.client_id WHERE p.fingerprint = $2"
                 " AND c.organisation_id = w.organisation_id AND c.state = 'active'"
                 " AND p.retired_at IS NULL AND w.good ORDER BY p.created_at LIMIT 1) FROM w",
                 2, {DB_OID_BYTEA, DB_OID_TEXT}},
    // An operator is no client: its name stands in the organisation's place.
    [OPERATOR] = {"operator",
                  "SELECT NULL::uuid, NULL::uuid, n.name, 'active', n.revoked_at IS NOT NULL,"
                  " n.not_after, false FROM node_certificates n"
                  " WHERE n.sha256 = $1 AND n.kind = 'operator'",
                  1, {DB_OID_BYTEA}},
    // $2 state, $3 after, $4 limit; newest first. Comments are for those who see the request.
    [REQUESTS] = {"requests",
              WHO "SELECT " WHO_COLUMNS ", (SELECT json_build_object('requests',"
              " coalesce(json_agg(x.entry ORDER BY x.created_at DESC, x.request_id DESC), '[]'),"
              " 'next', CASE WHEN count(*) = $4 THEN (array_agg(x.request_id ORDER BY x.created_at,"
              "  x.request_id))[1] END)::text FROM (SELECT q.created_at, q.request_id,"
              "  json_build_object('id', q.request_id, 'state', t.state,"
              "   'deposit', q.deposit_id, 'handle', d.handle, 'version', d.version,"
              "   'client', q.client_id, 'name', c.name, 'justification', q.justification,"
              "   'created', " ISO_TIME("q.created_at") ", 'expires', " ISO_TIME("q.expires_at") ","
              "   'own', q.client_id = w.client_id, 'voted', v.approves,"
              "   'votes', t.needed, 'approvals', t.approvals, 'denials', t.denials,"
              "   'comments', (SELECT coalesce(json_agg(json_build_object('client', v1.client_id,"
              "    'approves', v1.approves, 'comment', v1.comment) ORDER BY v1.voted_at,"
              "    v1.client_id), '[]') FROM release_votes v1"
              "    WHERE v1.request_id = q.request_id)) AS entry"
              "  FROM release_requests q JOIN release_policies p"
              "   ON p.organisation_id = q.organisation_id AND p.deposit_id = q.deposit_id"
              "  JOIN deposits d"
              "   ON d.organisation_id = q.organisation_id AND d.deposit_id = q.deposit_id"
              "  JOIN clients c ON c.client_id = q.client_id"
              "  LEFT JOIN release_votes v"
              "   ON v.request_id = q.request_id AND v.client_id = w.client_id"
              "  CROSS JOIN LATERAL release_tally(q) t"
              "  WHERE q.organisation_id = w.organisation_id AND w.good"
              "   AND (q.client_id = w.client_id OR w.client_id = ANY (p.trustees))"
              "   AND ($2 = '' OR t.state = $2)"
              "   AND ($3 = '00000000-0000-0000-0000-000000000000'::uuid"
              "    OR (q.created_at, q.request_id) < (SELECT a.created_at, a.request_id"
              "     FROM release_requests a WHERE a.request_id = $3"
              "     AND a.organisation_id = w.organisation_id))"
              "  ORDER BY q.created_at DESC, q.request_id DESC LIMIT $4) x) FROM w",
              4, {DB_OID_BYTEA, DB_OID_TEXT, DB_OID_UUID, DB_OID_INT4}},
    // Nobody in particular asks. A statement is ASCII, which 'escape' leaves as it is; what is none
    // is changed rather than refused, since an error would abort the neighbours.
    [INCARNATIONS] = {"incarnations",
                      "SELECT json_build_object('incarnations', coalesce(json_agg("
                      "json_build_object('incarnation', i.number || '.' || encode(i.bits, 'hex'),"
                      " 'started_at', " ISO_TIME("i.started_at") ","
                      " 'statement', CASE WHEN octet_length(i.statement) <= " STATEMENT_MAX
                      "  THEN encode(i.statement, 'escape') END) ORDER BY i.number), '[]'))::text"
                      " FROM (SELECT * FROM incarnations ORDER BY number DESC LIMIT 64) i",
                      0, {0}},
    // As above; the table lets no longer statement in.
    [CLUSTER_KEYS] = {"cluster_keys",
                      "SELECT json_build_object('cluster_keys', coalesce(json_agg("
                      "json_build_object('number', k.number, 'fingerprint', k.fingerprint,"
                      " 'statement', k.statement) ORDER BY k.number), '[]'))::text"
                      " FROM cluster_keys k",
                      0, {0}},
    // The newest head's text (docs/formats.md). encode() breaks lines of base64.
    [LOG_HEAD] = {"log_head",
                  WHO "SELECT " WHO_COLUMNS ", json_build_object('head', CASE WHEN w.good THEN"
                  " (SELECT 'keytrustee-tree-head 1' || E'\\n'"
                  "  || 'incarnation ' || h.incarnation || '.' || encode(i.bits, 'hex') || E'\\n'"
                  "  || 'epoch ' || h.epoch || E'\\n' || 'size ' || h.size || E'\\n'"
                  "  || 'root ' || encode(h.root, 'hex') || E'\\n'"
                  "  || 'time ' || " ISO_TIME("h.made_at") " || E'\\n'"
                  "  || 'key ' || encode(h.receipt_key_id, 'hex') || E'\\n' || 'signature '"
                  "  || replace(encode(h.signature, 'base64'), E'\\n', '') || E'\\n'"
                  "  FROM tree_heads h JOIN incarnations i ON i.number = h.incarnation"
                  "  ORDER BY h.incarnation DESC, h.epoch DESC LIMIT 1) END)::text FROM w",
                  1, {DB_OID_BYTEA}},
    // $2 log index, $3 size of the tree
    [LOG_INCLUSION] = {"log_inclusion",
                       PROOF("'index', $2, 'size', $3, 'leaf',"
                             " (SELECT encode(l, 'hex') FROM unnest(log_leaves($2 - 1, $2)) l)",
                             "log_inclusion($2, $3)"),
                       3, {DB_OID_BYTEA, DB_OID_INT8, DB_OID_INT8}},
    // $2 size of the tree before, $3 of the one behind it
    [LOG_CONSISTENCY] = {"log_consistency",
                         PROOF("'from', $2, 'to', $3", "log_consistency($2, $3)"),
                         3, {DB_OID_BYTEA, DB_OID_INT8, DB_OID_INT8}},
};
// clang-format on

const struct db_statement *db_reads_statements(size_t *count)
{
    *count = sizeof(STATEMENTS) / sizeof(STATEMENTS[0]);
    return STATEMENTS;
}
