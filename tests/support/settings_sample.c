// SPDX-License-Identifier: Apache-2.0
// Prints the sample settings file; packaging/keytrustee.conf.sample must equal it.
#include <stdio.h>

#include "lib/settings.h"

int main(void)
{
    struct kt_settings *settings = NULL;
    int rc = kt_settings_new(&settings);

    if (rc == 0)
        rc = kt_settings_write_sample(settings, stdout);
    kt_settings_free(settings);
    return rc ? 1 : 0;
}
