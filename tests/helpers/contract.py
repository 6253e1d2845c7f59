"""The fields of a process in JSON: what design.md binds, what may stand beside, what the exit record may add."""

PROCESS_FIELDS = {
    "pid",
    "ppid",
    "current_ppid",
    "tgid",
    "cmd",
    "cmdline",
    "user",
    "uid",
    "start_time_ns",
    "started_at",
    "exited_at",
    "exit_code",
    "signal",
    "source",
}
MAY_STAND_BESIDE = {
    "current_parent",
    "former_cmds",
    "birth_user",
    "run_time_s",
    "ppid_source",
    "session",
    "alive",
    "core_dumped",
    "cmd_raw",
    "cmdline_raw",
    "generations_left_out",
    "full_name",
    "full_name_raw",
}
OF_THE_EXIT_RECORD = {"cpu_s", "max_rss_bytes", "read_bytes", "write_bytes"}
