// SPDX-License-Identifier: Apache-2.0
// Reading keytrustee.conf strictly, and writing its sample.
#include "lib/settings.h"

#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "lib/file.h"
#include "lib/nearest.h"

#define FILE_MAX (64 * 1024)

// What the reader and the handler of one parse share.
struct load {
    const char *path;
    const char *at;         // rest of the text
    int line;               // of the line last handed out
    int seen[KT_SET_COUNT]; // line on which a setting stood, 0 = not yet
    struct kt_settings *settings;
    struct kt_error *error;
    int rc; // the first error
};

static int find(const char *section, const char *name)
{
    for (int id = 0; id < KT_SET_COUNT; id++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)id);
        if (strcmp(info->section, section) == 0 && (!name || strcmp(info->name, name) == 0))
            return id;
    }
    return -1;
}

static int refuse_unknown(struct load *load, const char *section, const char *name)
{
    int known_section = find(section, NULL) >= 0;
    struct kt_nearest nearest = KT_NEAREST_INIT(known_section ? name : section);
    const char *home = NULL; // the section that has a key of this name
    char hint[128] = "see keytrustee.conf(5)";

    for (int id = 0; id < KT_SET_COUNT; id++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)id);
        if (!known_section)
            kt_nearest_offer(&nearest, info->section);
        else if (strcmp(info->section, section) == 0)
            kt_nearest_offer(&nearest, info->name);
        if (strcmp(info->name, name) == 0)
            home = info->section;
    }
    if (nearest.best)
        snprintf(hint, sizeof(hint), known_section ? "did you mean '%s'?" : "did you mean [%s]?",
                 nearest.best);
    else if (home)
        snprintf(hint, sizeof(hint), "'%s' belongs into [%s]", name, home);
    if (section[0] == '\0')
        return kt_error_set(load->error, KT_ERR_SETTINGS, hint,
                            "%s:%d: '%s' stands before the first [section]", load->path, load->line,
                            name);
    if (!known_section)
        return kt_error_set(load->error, KT_ERR_SETTINGS, hint, "%s:%d: unknown section [%s]",
                            load->path, load->line, section);
    return kt_error_set(load->error, KT_ERR_SETTINGS, hint, "%s:%d: unknown setting '%s' in [%s]",
                        load->path, load->line, name, section);
}

// Called by inih for each name = value.
static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct load *load = user;
    struct kt_error why = {0};
    int id;

    if (load->rc)
        return 0;
    id = find(section, name);
    if (id < 0) {
        load->rc = refuse_unknown(load, section, name);
    } else if (load->seen[id]) {
        load->rc = kt_error_set(load->error, KT_ERR_SETTINGS, "keep one of them",
                                "%s:%d: '%s' in [%s] was set on line %d already", load->path,
                                load->line, name, section, load->seen[id]);
    } else {
        load->seen[id] = load->line;
        load->rc = kt_settings_set(load->settings, (enum kt_setting)id, value, &why);
        if (load->rc)
            kt_error_set(load->error, load->rc, why.hint, "%s:%d: %s", load->path, load->line,
                         why.message);
    }
    return load->rc == 0;
}

// Whether nothing but white space or a comment follows.
static int is_end(const char *rest)
{
    rest += strspn(rest, " \t\r\n");
    return *rest == '\0' || *rest == ';' || *rest == '#';
}

// inih's fgets. White space in front is dropped: inih would take such a line for more of the value
// above. Comments are dropped too, so that they may be longer than inih's line.
static char *next_line(char *out, int size, void *user)
{
    struct load *load = user;
    const char *start = load->at;
    size_t n;

    if (*start == '\0' || load->rc)
        return NULL;
    n = strcspn(start, "\n");
    load->at = start + n + (start[n] == '\n');
    load->line++;
    while (n > 0 && (*start == ' ' || *start == '\t')) {
        start++;
        n--;
    }
    while (n > 0 && strchr(" \t\r", start[n - 1]))
        n--;
    if (n > 0 && (*start == '#' || *start == ';'))
        n = 0;
    if (n + 2 > (size_t)size) { // inih would cut it silently
        load->rc = kt_error_set(load->error, KT_ERR_SETTINGS, "shorten it",
                                "%s:%d: the line is longer than %d bytes", load->path, load->line,
                                size - 2);
        return NULL;
    }
    memcpy(out, start, n);
    memcpy(out + n, "\n", 2);
    if (*out == '[' && (strchr(out, ']') == NULL || !is_end(strchr(out, ']') + 1))) {
        load->rc = kt_error_set(load->error, KT_ERR_SETTINGS, "write [section] alone on its line",
                                "%s:%d: not a section", load->path, load->line);
        return NULL;
    }
    return out;
}

static int read_text(const char *path, char **text, struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = kt_file_check_private(path, 0, &why);

    if (rc == 0)
        rc = kt_file_read_text(path, FILE_MAX, text, &why);
    if (rc == KT_ERR_PERMISSION || rc == KT_ERR_TOO_LARGE || rc == KT_ERR_INVALID)
        rc = KT_ERR_SETTINGS; // the file is there, and wrong
    return rc ? kt_error_set(error, rc, why.hint, "%s", why.message) : 0;
}

int kt_settings_load(const char *path, struct kt_settings **settings, struct kt_error *error)
{
    struct load load = {.path = path, .error = error};
    char *text = NULL;
    int rc, bad_line;

    rc = read_text(path, &text, error);
    if (rc)
        return rc;
    rc = kt_settings_new(&load.settings);
    if (rc) {
        kt_error_set(error, rc, NULL, "no memory for the settings");
        goto out;
    }
    load.at = text;
    bad_line = ini_parse_stream(next_line, &load, on_value, &load);
    // inih goes on behind a line it cannot read: the first trouble is the one to report
    if (bad_line > 0 && (load.rc == 0 || bad_line < load.line))
        load.rc = kt_error_set(error, KT_ERR_SETTINGS, "write [section] or name = value",
                               "%s:%d: not a setting", path, bad_line);
    rc = load.rc;
    if (rc == 0) {
        *settings = load.settings;
        load.settings = NULL;
    }
out:
    kt_settings_free(load.settings);
    free(text);
    return rc;
}

static void describe(const struct kt_setting_info *info, FILE *out)
{
    fprintf(out, "# %s\n", info->text);
    if (info->choices)
        fprintf(out, "# One of: %s.\n", info->choices);
    if (!info->reloadable)
        fputs("# Needs a restart.\n", out);
}

int kt_settings_write_sample(const struct kt_settings *settings, FILE *out)
{
    const char *section = "";

    fputs("# Settings of the key trustee server; see keytrustee.conf(5).\n"
          "# What is commented out shows the default.\n",
          out);
    for (int i = 0; i < KT_SET_COUNT; i++) {
        enum kt_setting id = (enum kt_setting)i;
        const struct kt_setting_info *info = kt_setting_info(id);
        int set = kt_settings_is_set(settings, id);
        const char *text = set ? kt_settings_text(settings, id) : info->default_text;
        if (strcmp(section, info->section) != 0)
            fprintf(out, "\n[%s]\n", info->section);
        else
            fputc('\n', out);
        section = info->section;
        describe(info, out);
        fprintf(out, "%s%s =%s%s\n", set ? "" : "#", info->name, text[0] ? " " : "", text);
    }
    return ferror(out) ? KT_ERR_SYSTEM : 0;
}
