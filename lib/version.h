// SPDX-License-Identifier: Apache-2.0
// Versions of the programs, the protocol and the schema.
#ifndef KT_VERSION_H
#define KT_VERSION_H

#define KT_VERSION          "0.1.0"
#define KT_PROTOCOL_VERSION 1
#define KT_SCHEMA_VERSION   8
// "ktadmin 0.1.0 (protocol 1, schema 2)"
#define KT_STR_(x) #x
#define KT_STR(x)  KT_STR_(x)
#define KT_VERSION_LINE                                                                            \
    KT_VERSION " (protocol " KT_STR(KT_PROTOCOL_VERSION) ", schema " KT_STR(KT_SCHEMA_VERSION) ")"

#endif
