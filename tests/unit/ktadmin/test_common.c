// SPDX-License-Identifier: Apache-2.0
// What the commands ask the agent: one that answers from a table and keeps what it was asked.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/ktadmin/commands.h"

#define WEB_1  "11111111-1111-4111-8111-111111111111"
#define TWIN_A "22222222-2222-4222-8222-222222222222"
#define TWIN_B "33333333-3333-4333-8333-333333333333"

static pid_t agent;

static const struct {
    const char *verb, *answer;
} ANSWERS[] = {
    {"client.list", "{\"ok\":true,\"result\":["
                    "{\"client_id\":\"" WEB_1 "\",\"name\":\"web-1\",\"organisation\":\"acme\","
                    "\"state\":\"active\"},"
                    "{\"client_id\":\"" TWIN_A "\",\"name\":\"twin\"},"
                    "{\"client_id\":\"" TWIN_B "\",\"name\":\"twin\"}]}"},
    {"org.list", "{\"ok\":true,\"result\":[]}"},
    {"org.add", "{\"ok\":false,\"error\":{\"code\":\"organisation_exists\",\"message\":\"it is "
                "there\",\"hint\":\"another name\"}}"},
    {"authcode.new", "{\"ok\":true,\"result\":{\"code\":\"abc-def\",\"uses\":2,\"expires_at\":"
                     "\"2026-11-22T06:11:43.123456Z\"}}"},
    {"db.start_allowed",
     "{\"ok\":true,\"result\":{\"allowed\":false,\"reason\":\"a newer epoch\"}}"},
};
#define OTHER_ANSWER "{\"ok\":true,\"result\":{}}"

static void read_all(int fd, void *bytes, size_t n)
{
    for (uint8_t *at = bytes; n > 0;) {
        ssize_t got = read(fd, at, n);
        if (got <= 0)
            _exit(0);
        at += got;
        n -= (size_t)got;
    }
}

// Serves for ever; each request is appended to asked.txt, one a line.
static void serve(int listener)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        char request[65536];
        const char *answer = OTHER_ANSWER;
        uint32_t n = 0;
        read_all(fd, &n, sizeof(n));
        n = ntohl(n);
        if (n >= sizeof(request))
            _exit(1);
        read_all(fd, request, n);
        request[n] = '\0';
        FILE *asked = fopen(temp_path("asked.txt"), "ae");
        fprintf(asked, "%s\n", request);
        fclose(asked);
        for (size_t i = 0; i < sizeof(ANSWERS) / sizeof(ANSWERS[0]); i++) {
            char wanted[64];
            snprintf(wanted, sizeof(wanted), "\"verb\":\"%s\"", ANSWERS[i].verb);
            if (strstr(request, wanted))
                answer = ANSWERS[i].answer;
        }
        n = htonl((uint32_t)strlen(answer));
        if (write(fd, &n, sizeof(n)) != sizeof(n) ||
            write(fd, answer, strlen(answer)) != (ssize_t)strlen(answer))
            _exit(1);
        close(fd);
    }
}

static int setup(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener;

    (void)state;
    if (temp_dir_setup(NULL) != 0 || mkdir(temp_path(".keytrustee"), 0700) != 0 ||
        mkdir(temp_path("run"), 0700) != 0)
        return -1;
    temp_text(".keytrustee/keytrustee.conf", "");
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, temp_path("run/agent.sock"), sizeof(address.sun_path) - 1);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 8) != 0)
        return -1;
    agent = fork();
    if (agent == 0)
        serve(listener);
    close(listener);
    return agent > 0 ? 0 : -1;
}

static int teardown(void **state)
{
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    return temp_dir_teardown(state);
}

// The last request.
static json_t *asked(void)
{
    char *text = NULL, *last;
    json_t *request;

    assert_int_equal(kt_file_read_text(temp_path("asked.txt"), 1 << 20, &text, NULL), 0);
    text[strlen(text) - 1] = '\0';
    last = strrchr(text, '\n');
    request = json_loads(last ? last + 1 : text, 0, NULL);
    assert_non_null(request);
    free(text);
    return request;
}

static void expect(const char *wanted)
{
    json_t *request = asked(), *object = json_loads(wanted, 0, NULL);

    assert_non_null(object);
    if (!json_equal(request, object)) {
        char *text = json_dumps(request, JSON_SORT_KEYS);
        fail_msg("asked %s", text);
    }
    json_decref(request);
    json_decref(object);
}

static void org_add_sends_what_was_given(void **state)
{
    (void)state;
    assert_int_equal(
        RUN(kta_cmd_org_add, "org", "add", "acme", "--contacts", "a@x.org,b@y.org", "--approval"),
        KT_EXIT_FAILURE);
    assert_string_equal(err_text, "ktadmin: it is there\nhint: another name\n");
    expect("{\"verb\":\"org.add\",\"args\":{\"name\":\"acme\",\"contacts\":\"a@x.org,b@y.org\","
           "\"needs_approval\":true}}");
}

static void wrong_names_and_contacts_are_not_sent(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_org_add, "org", "add", "Acme"), KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_org_add, "org", "add", "acme", "--contacts", "a@x,,b@y"),
                     KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_org_add, "org", "add", "acme", "--contacts", "nobody"),
                     KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_org_add, "org", "add", "acme", "--contacts", "a b@x"),
                     KT_EXIT_USAGE);
    assert_false(kt_file_exists(temp_path("asked.txt")));
}

static void an_auth_code_stands_alone_on_standard_output(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_authcode_new, "authcode", "new", "acme", "--uses", "2",
                         "--expires", "2h", "--rights", "deposit"),
                     KT_EXIT_OK);
    assert_string_equal(out_text, "abc-def\n");
    assert_non_null(strstr(err_text, "2026-11-22T06:11:43Z"));
    assert_null(strstr(err_text, "abc-def"));
    expect("{\"verb\":\"authcode.new\",\"args\":{\"organisation\":\"acme\",\"uses\":2,"
           "\"lifetime_s\":7200,\"rights\":\"deposit\"}}");
    assert_int_equal(RUN(kta_cmd_authcode_new, "authcode", "new", "acme", "--uses", "0"),
                     KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_authcode_new, "authcode", "new", "acme", "--expires", "soon"),
                     KT_EXIT_USAGE);
}

static void lists_are_tables_or_json(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_client_list, "client", "list", "acme", "--state", "active"),
                     KT_EXIT_OK);
    assert_int_equal(strncmp(out_text, "CLIENT ", 7), 0);
    assert_non_null(strstr(out_text, WEB_1));
    expect("{\"verb\":\"client.list\",\"args\":{\"organisation\":\"acme\",\"state\":\"active\"}}");
    assert_int_equal(RUN(kta_cmd_client_list, "client", "list", "--json"), KT_EXIT_OK);
    assert_int_equal(out_text[0], '[');
    assert_int_equal(RUN(kta_cmd_org_list, "org", "list"), KT_EXIT_OK);
    assert_string_equal(out_text, "");
    assert_int_equal(RUN(kta_cmd_client_list, "client", "list", "--state", "dead"), KT_EXIT_USAGE);
}

static void a_client_is_named_by_id_or_by_its_only_name(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_client_approve, "client", "approve", "web-1"), KT_EXIT_OK);
    expect("{\"verb\":\"client.approve\",\"args\":{\"client_id\":\"" WEB_1 "\"}}");
    assert_int_equal(RUN(kta_cmd_client_approve, "client", "approve", TWIN_A), KT_EXIT_OK);
    expect("{\"verb\":\"client.approve\",\"args\":{\"client_id\":\"" TWIN_A "\"}}");
    assert_int_equal(RUN(kta_cmd_client_approve, "client", "approve", "twin"), KT_EXIT_USAGE);
    assert_non_null(strstr(err_text, "2 clients are named 'twin'"));
    assert_int_equal(RUN(kta_cmd_client_approve, "client", "approve", "web-2"), KT_EXIT_NOT_FOUND);
}

static void revoking_a_client_needs_a_yes(void **state)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), saved = dup(0);

    (void)state;
    assert_int_equal(dup2(null, 0), 0); // no terminal
    assert_int_equal(RUN(kta_cmd_client_revoke, "client", "revoke", WEB_1), KT_EXIT_FAILURE);
    assert_false(kt_file_exists(temp_path("asked.txt")));
    assert_int_equal(RUN(kta_cmd_client_revoke, "client", "revoke", WEB_1, "--yes"), KT_EXIT_OK);
    expect("{\"verb\":\"client.revoke\",\"args\":{\"client_id\":\"" WEB_1 "\"}}");
    assert_int_equal(dup2(saved, 0), 0);
    close(saved);
    close(null);
}

static void a_grant_has_one_subject_and_one_object(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_grant, "grant", "acme", "retrieve,browse", "--client", "web-1",
                         "--prefix", "team/"),
                     KT_EXIT_OK);
    expect("{\"verb\":\"grant.add\",\"args\":{\"organisation\":\"acme\",\"rights\":"
           "\"retrieve,browse\",\"object\":\"prefix\",\"prefix\":\"team/\",\"client_id\":\"" WEB_1
           "\"}}");
    assert_int_equal(RUN(kta_cmd_grant, "grant", "acme", "lock", "--everyone", "--own"),
                     KT_EXIT_OK);
    expect("{\"verb\":\"grant.add\",\"args\":{\"organisation\":\"acme\",\"rights\":\"lock\","
           "\"object\":\"own\"}}");
    assert_int_equal(RUN(kta_cmd_grant, "grant", "acme", "lock", "--own"), KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_grant, "grant", "acme", "lock", "--everyone"), KT_EXIT_USAGE);
    assert_int_equal(
        RUN(kta_cmd_grant, "grant", "acme", "lock", "--everyone", "--own", "--prefix", "a"),
        KT_EXIT_USAGE);
    assert_int_equal(
        RUN(kta_cmd_grant, "grant", "acme", "lock", "--everyone", "--client", "web-1", "--own"),
        KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_grant, "grant", "acme", "fly", "--everyone", "--own"),
                     KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_grant, "grant", "acme", "lock", "--everyone", "--key-group", "x"),
                     KT_EXIT_NOT_FOUND); // there is no group of that name
    assert_int_equal(RUN(kta_cmd_revoke, "revoke", "x"), KT_EXIT_NOT_FOUND);
    assert_int_equal(RUN(kta_cmd_revoke, "revoke", TWIN_A), KT_EXIT_OK);
    expect("{\"verb\":\"grant.revoke\",\"args\":{\"grant_id\":\"" TWIN_A "\"}}");
    assert_int_equal(RUN(kta_cmd_grants, "grants", "acme", "--client", "web-1"), KT_EXIT_OK);
    expect("{\"verb\":\"grant.list\",\"args\":{\"organisation\":\"acme\",\"client_id\":\"" WEB_1
           "\"}}");
}

static void a_place_without_a_node_and_one_that_is_closed_are_said(void **state)
{
    const char *const nothing[] = {"org", "list", "-c", "/etc", NULL};
    const char *const closed[] = {"org", "list", "-c", "/root", NULL};

    (void)state;
    assert_int_equal(ktadmin(&kta_cmd_org_list, nothing), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "no key trustee in"));
    assert_int_equal(ktadmin(&kta_cmd_org_list, closed), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "cannot look into"));
}

static void the_database_does_not_start_when_the_server_forbids_it(void **state)
{
    (void)state;
    assert_int_not_equal(RUN(kta_cmd_db, "db", "--start", "--background"), KT_EXIT_OK);
    assert_non_null(strstr(err_text, "does not allow the start: a newer epoch"));
    expect("{\"verb\":\"db.start_allowed\",\"args\":null}");
}

static void nobody_listening_is_unavailable(void **state)
{
    (void)state;
    kill(agent, SIGKILL);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_int_equal(RUN(kta_cmd_org_list, "org", "list"), KT_EXIT_UNAVAILABLE);
    assert_non_null(strstr(err_text, "hint:"));
    agent = fork(); // for the tear-down
    if (agent == 0)
        _exit(0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(org_add_sends_what_was_given),
        CASE(wrong_names_and_contacts_are_not_sent),
        CASE(an_auth_code_stands_alone_on_standard_output),
        CASE(lists_are_tables_or_json),
        CASE(a_client_is_named_by_id_or_by_its_only_name),
        CASE(revoking_a_client_needs_a_yes),
        CASE(a_grant_has_one_subject_and_one_object),
        CASE(a_place_without_a_node_and_one_that_is_closed_are_said),
        CASE(the_database_does_not_start_when_the_server_forbids_it),
        CASE(nobody_listening_is_unavailable),
    };

    if (become_ordinary() != 0)
        return 1;
    return cmocka_run_group_tests(cases, NULL, NULL);
}
