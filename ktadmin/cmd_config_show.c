// SPDX-License-Identifier: Apache-2.0
// config show: the settings as the programs see them.
#include <stdio.h>

#include "ktadmin/commands.h"

static json_t *setting_object(const struct kt_settings *settings,
                              const struct kt_setting_info *info)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:s}", "section", info->section, "name",
                     info->name, "value", kt_settings_text(settings, info->id), "default",
                     info->default_text, "set", kt_settings_is_set(settings, info->id),
                     "reloadable", info->reloadable, "text", info->text);
}

static int run_show(struct kt_cli_run *run)
{
    int all = kt_cli_flag(run, "all"), json = kt_cli_flag(run, "json");
    struct kt_error error = {0};
    struct kta_node node;
    json_t *list = json ? json_array() : NULL;
    const char *section = "";
    int rc = kta_open(run, KTA_FILES, &node, &error);

    for (int i = 0; i < KT_SET_COUNT && rc == 0; i++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)i);
        int set = kt_settings_is_set(node.settings, info->id);
        if (!all && !set)
            continue;
        if (list) {
            json_array_append_new(list, setting_object(node.settings, info));
            continue;
        }
        if (section != info->section)
            printf("%s[%s]\n", *section ? "\n" : "", info->section);
        section = info->section;
        printf("%s = %s%s\n", info->name, kt_settings_text(node.settings, info->id),
               all && !set ? "  # default" : "");
    }
    if (rc == 0 && list)
        kta_print_json(list);
    else if (rc == 0 && *section == '\0' && !kt_cli_flag(run, "quiet"))
        fprintf(stderr, "all settings have their defaults; --all shows them\n");
    json_decref(list);
    kta_close(&node);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {
    {"all", 0, NULL, "those with their default too"},
    {NULL},
};

const struct kt_cli_command kta_cmd_config_show = {
    .verb = "config show",
    .arguments = "",
    .summary = "show the settings",
    .options = OPTIONS,
    .run = run_show,
};
