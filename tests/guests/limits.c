// What a process is and may: limits, umask, directories, credentials, priorities, affinity.
#include "t.h"
#include <grp.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

static void limits(void) {
    struct rlimit old, now, low;
    EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){20, old.rlim_max};
    EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    t_spin(0.003);
    EQ(getrlimit(RLIMIT_NOFILE, &now), 0);
    EQ(now.rlim_cur, 20);
    int first = open("/dev/null", O_RDONLY), fd, opened = 0;
    while ((fd = open("/dev/null", O_RDONLY)) != -1)
        opened++;
    EQ(errno, EMFILE);
    CHECK(opened >= 8 && opened <= 17);
    for (fd = first; fd < 20; fd++)
        close(fd);
    EQ(prlimit(0, RLIMIT_NOFILE, &old, &now), 0);
    EQ(now.rlim_cur, 20);

    pid_t kid = fork();
    if (kid == 0) {
        low = (struct rlimit){10000, 10000};
        EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
        fd = open("limited", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        static char data[20000];
        EQ(write(fd, data, sizeof data), 10000);
        signal(SIGXFSZ, SIG_IGN);
        FAILS(write(fd, data, 1), EFBIG);
        signal(SIGXFSZ, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        t_spin(0.002);
        fd = (int)write(fd, data, 1);
        _exit(fd);
    }
    EQ(WTERMSIG(t_wait(kid)), SIGXFSZ);
    kid = fork();
    if (kid == 0) {
        low = (struct rlimit){64 << 20, 64 << 20};
        EQ(setrlimit(RLIMIT_AS, &low), 0);
        t_spin(0.003);
        FAILS((long)mmap(NULL, 80 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
        CHECK(mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
        _exit(0);
    }
    EQ(t_wait(kid), 0);
}

static void places(void) {
    char here[4096], now[4096];
    CHECK(getcwd(here, sizeof here));
    mode_t old = umask(027);
    mkdir("below", 0777);
    struct stat st;
    EQ(stat("below", &st), 0);
    EQ(st.st_mode & 0777, 0750);
    EQ(umask(077), 027);
    t_spin(0.002);
    EQ(umask(old), 077);
    int top = open(".", O_RDONLY | O_DIRECTORY);
    EQ(chdir("below"), 0);
    t_spin(0.003);
    CHECK(getcwd(now, sizeof now));
    EQ(strncmp(now, here, strlen(here)), 0);
    EQ(strcmp(now + strlen(here), "/below"), 0);
    CHECK(!getcwd(now, 2) && errno == ERANGE);
    EQ(fchdir(top), 0);
    CHECK(getcwd(now, sizeof now) && strcmp(now, here) == 0);
    FAILS(chdir("nowhere"), ENOENT);
    close(top);
    EQ(rmdir("below"), 0);
}

static void credentials(void) {
    uid_t real, effective, saved;
    EQ(getresuid(&real, &effective, &saved), 0);
    EQ(real, getuid());
    EQ(effective, geteuid());
    gid_t groups[256];
    int count = getgroups(256, groups);
    CHECK(count >= 0);
    EQ(getgroups(0, NULL), count);
    pid_t kid = fork();
    if (kid == 0) {
        if (getuid() == 0) {
            EQ(setgroups(2, (gid_t[]){7, 8}), 0);
            EQ(setresgid(100, 100, 100), 0);
            EQ(setresuid(1234, 1234, 0), 0);
            t_spin(0.003);
            EQ(geteuid(), 1234);
            EQ(getgroups(0, NULL), 2);
            FAILS(open("/etc/shadow", O_RDONLY), EACCES);
            EQ(setuid(1234), 0);
            EQ(seteuid(0), 0); /* the saved one still allows it */
            EQ(setresuid(1234, 1234, 1234), 0);
        }
        FAILS(setuid(0), EPERM);
        EQ(setfsuid((uid_t)-1), geteuid());
        _exit(0);
    }
    EQ(t_wait(kid), 0);
    EQ(getuid(), real);
}

static void others(void) {
    char name[16] = "";
    EQ(prctl(PR_SET_NAME, "a new name"), 0);
    t_spin(0.003);
    EQ(prctl(PR_GET_NAME, name), 0);
    EQ(strcmp(name, "a new name"), 0);
    cpu_set_t cpus;
    EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    CHECK(CPU_COUNT(&cpus) >= 1);
    struct utsname system;
    char host[256];
    EQ(uname(&system), 0);
    EQ(gethostname(host, sizeof host), 0);
    EQ(strcmp(system.nodename, host), 0);
    EQ(sysconf(_SC_PAGESIZE), 4096);
    pid_t kid = fork();
    if (kid == 0) {
        errno = 0;
        int before = getpriority(PRIO_PROCESS, 0);
        EQ(setpriority(PRIO_PROCESS, 0, before + 3 > 19 ? 19 : before + 3), 0);
        t_spin(0.003);
        EQ(getpriority(PRIO_PROCESS, 0), before + 3 > 19 ? 19 : before + 3);
        EQ(sched_getscheduler(0), SCHED_OTHER);
        _exit(0);
    }
    EQ(t_wait(kid), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        limits();
        places();
        credentials();
        others();
    }
    t_ok(__FILE__);
}
