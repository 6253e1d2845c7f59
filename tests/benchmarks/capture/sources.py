"""The C sources of the capture benchmark: a program that exits at once, storms of it, and the least listener."""

# Exits at once; as a probe, it lives long enough for any listener to name it.
PROGRAM = """
#include <unistd.h>
int main(void) {
#ifdef LIVES_US
    usleep(LIVES_US);
#endif
    _exit(0);
}
"""

# `storm MODE ...` begins when its stdin ends, and dies with the process that started it.
#   exec LOG SECONDS PROGRAMS FIRST COUNT INTERVAL_NS WHO   runs programs, and writes a record for each into LOG
#   fork LOG SECONDS                                        vfork and _exit; writes how many, and how long it took
#   busy, flood-vfork, flood-rename, flood-thread           go on until they are killed
# WHO: 0 as it is, 1 as nobody, 2 every second program as nobody.
STORM = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define PROGRAMS 64
#define NOBODY 65534
struct made { int32_t pid, program, number, uid, status, unused; int64_t from_ns, until_ns; };
static int64_t now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}
static void await_start(void) {
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(0, &byte, 1) > 0) {}
}
static void sleep_until(int64_t at_ns) {
    struct timespec at = { at_ns / 1000000000LL, at_ns % 1000000000LL };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0)) {}
}
static int run_programs(char **argv) {
    int log = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int64_t lasts_ns = (int64_t)(atof(argv[3]) * 1e9);
    long first = atol(argv[5]), count = atol(argv[6]), interval_ns = atol(argv[7]), who = atol(argv[8]);
    long done = 0;
    struct made *made = malloc(count * sizeof *made);
    static char paths[PROGRAMS][4096], *no_environment[] = { 0 };
    if (log < 0 || !made) return 1;
    memset(made, 0, count * sizeof *made);  /* no page faults while it runs */
    for (int number = 0; number < PROGRAMS; number++)
        snprintf(paths[number], sizeof paths[number], "%s/pcs%02d", argv[4], number);
    if (who == 1 && setuid(NOBODY)) return 1;
    await_start();  /* after setuid, which clears the death signal */
    int64_t next_ns = now(CLOCK_MONOTONIC), end_ns = next_ns + lasts_ns;
    for (; done < count && now(CLOCK_MONOTONIC) < end_ns; done++) {
        struct made *one = &made[done];
        char argument[80];
        one->number = first + done;
        one->program = one->number % PROGRAMS;
        one->uid = who == 1 || (who == 2 && done % 2) ? NOBODY : getuid();
        snprintf(argument, sizeof argument, "n%07d-0123456789abcdefghijklmnopqrstuvwxyz0123", one->number);
        char *path = paths[one->program], *child_argv[] = { strrchr(path, '/') + 1, argument, 0 };
        if (interval_ns) {
            sleep_until(next_ns);
            next_ns += interval_ns;
            if (next_ns < now(CLOCK_MONOTONIC)) next_ns = now(CLOCK_MONOTONIC);  /* late: no burst to catch up */
        }
        one->from_ns = now(CLOCK_REALTIME);
        pid_t pid = vfork();
        if (pid == 0) {
            if (who == 2 && one->uid == NOBODY && syscall(SYS_setuid, NOBODY)) _exit(126);
            execve(path, child_argv, no_environment);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &one->status, 0) != pid) return 1;
        one->until_ns = now(CLOCK_REALTIME);
        one->pid = pid;
    }
    size_t size = done * sizeof *made;
    return write(log, made, size) != (ssize_t)size;
}
static int run_forks(char **argv) {
    FILE *log = fopen(argv[2], "w");
    int64_t lasts_ns = (int64_t)(atof(argv[3]) * 1e9);
    long done = 0;
    if (!log) return 1;
    await_start();
    int64_t began_ns = now(CLOCK_MONOTONIC);
    for (; now(CLOCK_MONOTONIC) < began_ns + lasts_ns; done++) {
        pid_t pid = vfork();
        if (pid == 0) _exit(0);
        if (pid < 0 || waitpid(pid, 0, 0) != pid) return 1;
    }
    fprintf(log, "%ld %.9f\\n", done, (now(CLOCK_MONOTONIC) - began_ns) / 1e9);
    return fclose(log);
}
static void *nothing(void *given) { return given; }
static void flood(const char *mode) {
    await_start();
    for (unsigned long round = 0;; round++) {
        if (!strcmp(mode, "flood-vfork")) {
            pid_t pid = vfork();
            if (pid == 0) _exit(0);
            waitpid(pid, 0, 0);
        } else if (!strcmp(mode, "flood-rename")) {
            prctl(PR_SET_NAME, round % 2 ? "flood-odd" : "flood-even");
        } else if (!strcmp(mode, "flood-thread")) {
            pthread_t thread;
            if (!pthread_create(&thread, 0, nothing, 0)) pthread_join(thread, 0);
        }
    }
}
int main(int argc, char **argv) {
    if (argc == 9 && !strcmp(argv[1], "exec")) return run_programs(argv);
    if (argc == 4 && !strcmp(argv[1], "fork")) return run_forks(argv);
    if (argc == 2) flood(argv[1]);
    return 2;
}
"""

# Subscribes to the proc connector and does nothing but recv(); writes the pid of each exec, so that one can see
# that it listens.
RECEIVER = """
#define _GNU_SOURCE
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    struct { struct nlmsghdr head; struct cn_msg message; enum proc_cn_mcast_op op; } __attribute__((packed)) ask;
    struct sockaddr_nl us = { .nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC, .nl_pid = getpid() };
    char buffer[4096] __attribute__((aligned(8)));
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);
    if (fd < 0 || bind(fd, (struct sockaddr *)&us, sizeof us)) return 1;
    memset(&ask, 0, sizeof ask);
    ask.head.nlmsg_len = sizeof ask;
    ask.head.nlmsg_type = NLMSG_DONE;
    ask.head.nlmsg_pid = getpid();
    ask.message.id.idx = CN_IDX_PROC;
    ask.message.id.val = CN_VAL_PROC;
    ask.message.len = sizeof ask.op;
    ask.op = PROC_CN_MCAST_LISTEN;
    if (send(fd, &ask, sizeof ask, 0) != sizeof ask) return 1;
    for (;;) {
        if (recv(fd, buffer, sizeof buffer, 0) < 0) continue;  /* overrun: the kernel counts what it dropped */
        struct proc_event *event = (void *)(buffer + NLMSG_HDRLEN + sizeof(struct cn_msg));
        if (event->what == PROC_EVENT_EXEC) {
            printf("exec %d.\\n", (int)event->event_data.exec.process_tgid);
            fflush(stdout);
        }
    }
}
"""
