// SPDX-License-Identifier: Apache-2.0
// The roots of the cluster's CA that this client trusts: the one that its auth code named, and those
// that it vouches for by a link.
#include <string.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define CA_MAX 32768

int ktc_ca_load(const struct keytrustee *client, X509 **ca, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "ca.pem", path);

    return rc != 0 ? rc : kt_pki_ca_load(path, ca, error);
}

int ktc_ca_choose(X509 *known, X509 *offered, X509 **set, struct kt_error *error)
{
    int rc = kt_pki_ca_choose(known, offered, 0, set);

    if (rc == KT_ERR_SIGNATURE)
        return kt_error_set(error, rc, "ask the operator of the key trustee",
                            "the server offers a CA that the one this client trusts does not vouch "
                            "for");
    return rc ? kt_error_set(error, rc, NULL, "the CA: %s", kt_err_text(rc)) : 0;
}

static int is_same(X509 *a, X509 *b)
{
    if (kt_pki_ca_count(a) != kt_pki_ca_count(b))
        return 0;
    for (size_t i = 0; i < kt_pki_ca_count(a); i++) {
        if (X509_cmp(kt_pki_ca_at(a, i), kt_pki_ca_at(b, i)) != 0)
            return 0;
    }
    return 1;
}

int ktc_ca_learn(struct keytrustee *client, const json_t *answer, struct kt_error *error)
{
    X509 *known = NULL, *offered = NULL, *set = NULL;
    char path[KT_PATH_MAX];
    const char *pem = NULL;
    int rc = kt_json_string(answer, "ca", 0, CA_MAX, &pem, error);

    if (rc != 0 || pem == NULL)
        return rc;
    if (kt_pki_ca_from_pem(pem, strlen(pem), &offered) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the server's CA cannot be read");
    rc = ktc_ca_load(client, &known, error);
    if (rc == 0)
        rc = ktc_ca_choose(known, offered, &set, error);
    if (rc == 0)
        rc = ktc_path(client, "ca.pem", path);
    if (rc == 0 && !is_same(known, set)) {
        rc = kt_pki_ca_save(path, set, error);
        ktc_servers_disconnect(client);
    }
    X509_free(known);
    X509_free(offered);
    X509_free(set);
    return rc;
}

int ktc_ca_is_older(const struct keytrustee *client, X509 *cert)
{
    X509 *ca = NULL, *first = NULL;
    int is_older = ktc_ca_load(client, &ca, NULL) == 0 && kt_pki_ca_count(ca) > 1 &&
                   kt_pki_ca_make(&ca, 1, &first) == 0 &&
                   kt_pki_cert_check(cert, first, kt_time_now()) == KT_ERR_CERTIFICATE_UNKNOWN_CA;

    X509_free(ca);
    X509_free(first);
    return is_older;
}
