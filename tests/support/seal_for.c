// SPDX-License-Identifier: Apache-2.0
// seal_for CERTIFICATE PURPOSE [ABOUT]: seals standard input to the certificate's key and prints base64, as an
// agent would, and as anybody can who has the CA's certificate.
#include <stdio.h>

#include "lib/encode.h"
#include "lib/pki.h"
#include "lib/seal.h"

int main(int argc, char **argv)
{
    static char text[16384], out[32768];
    struct kt_buf sealed = KT_BUF_INIT(sizeof(text) + KT_SEAL_EXTRA);
    X509 *cert = NULL;
    size_t n = fread(text, 1, sizeof(text), stdin);

    if (argc < 3 || argc > 4 || kt_pki_ca_load(argv[1], &cert, NULL) != 0 ||
        kt_seal(X509_get0_pubkey(cert), argv[2], argc > 3 ? argv[3] : "", text, n, &sealed) != 0) {
        fprintf(stderr, "seal_for: it cannot be sealed\n");
        return 1;
    }
    kt_base64_encode(kt_buf_ptr(&sealed), kt_buf_left(&sealed), out);
    puts(out);
    kt_buf_free(&sealed);
    X509_free(cert);
    return 0;
}
