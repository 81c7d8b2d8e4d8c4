// variants: static musl
// Who the process is stays the same over time: numbers, names, parents, sessions, by call and by /proc.
#include "t.h"
#include <sys/syscall.h>
#include <sys/utsname.h>

struct who {
    pid_t pid, tid, ppid, pgrp, sid;
    uid_t uid, euid;
    gid_t gid, egid;
    dev_t root_device;
    ino_t cwd_inode;
    char host[65], release[65], link[64];
};

static void look(struct who *who) {
    memset(who, 0, sizeof *who);
    who->pid = getpid();
    who->tid = (pid_t)syscall(SYS_gettid);
    who->ppid = getppid();
    who->pgrp = getpgrp();
    who->sid = getsid(0);
    who->uid = getuid();
    who->euid = geteuid();
    who->gid = getgid();
    who->egid = getegid();
    struct stat st;
    EQ(stat("/", &st), 0);
    who->root_device = st.st_dev;
    EQ(stat(".", &st), 0);
    who->cwd_inode = st.st_ino;
    struct utsname system;
    EQ(uname(&system), 0);
    strcpy(who->host, system.nodename);
    strcpy(who->release, system.release);
    CHECK(readlink("/proc/self", who->link, sizeof who->link - 1) > 0);
    EQ(atoi(who->link), who->pid);
    EQ(who->pid, who->tid);
}

static void same(int rounds) {
    struct who first, now;
    look(&first);
    while (rounds--) {
        t_spin(0.002);
        look(&now);
        EQ(memcmp(&first, &now, sizeof now), 0);
    }
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    struct who before;
    look(&before);
    while (t_more()) {
        same(20);
        pid_t kid = fork();
        if (kid == 0) {
            EQ(getppid(), before.pid);
            CHECK(getpid() != before.pid);
            same(5);
            _exit(0);
        }
        EQ(t_wait(kid), 0);
        uint32_t tid = 0; /* set by the kernel for a child's own use */
        EQ(syscall(SYS_set_tid_address, &tid), before.pid);
    }
    struct who after;
    look(&after);
    EQ(memcmp(&before, &after, sizeof after), 0);
    t_ok(__FILE__);
}
