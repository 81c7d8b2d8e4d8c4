// variants: static
// /proc/self as the program reads it: its file, directory, descriptors, arguments, numbers and maps are its own.
#include "t.h"
#include <dirent.h>

static char data[200];

static size_t slurp(const char *path, char *text, size_t room) {
    int fd = open(path, O_RDONLY);
    CHECK(fd != -1);
    size_t have = 0;
    ssize_t n;
    while ((n = read(fd, text + have, room - 1 - have)) > 0)
        have += (size_t)n;
    EQ(n, 0);
    close(fd);
    text[have] = 0;
    return have;
}

/* The maps' line for this address: its rights, or an empty string. */
static void rights(const void *address, char *answer, char *path) {
    static char text[1 << 20];
    slurp("/proc/self/maps", text, sizeof text);
    answer[0] = path[0] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long start, end;
        char prot[8], name[4096] = "";
        CHECK(sscanf(line, "%lx-%lx %7s %*s %*s %*s %4095[^\n]", &start, &end, prot, name) >= 3);
        if ((unsigned long)address >= start && (unsigned long)address < end) {
            strcpy(answer, prot);
            strcpy(path, name);
        }
    }
}

static void maps(const char *exe) {
    char prot[8], path[4096];
    int local;
    rights((void *)(uintptr_t)rights, prot, path);
    EQ(strcmp(prot, "r-xp"), 0);
    EQ(strcmp(path, exe), 0);
    rights(data, prot, path);
    EQ(strcmp(prot, "rw-p"), 0);
    rights(&local, prot, path);
    EQ(strcmp(prot, "rw-p"), 0);
    EQ(strcmp(path, "[stack]"), 0);
    char *area = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area + 4096, 4096, PROT_READ);
    t_spin(0.003);
    rights(area + 4096, prot, path);
    EQ(strcmp(prot, "r--p"), 0);
    EQ(path[0], 0);
    munmap(area, 3 * 4096);
    rights(area + 4096, prot, path);
    EQ(prot[0], 0);
    rights(sbrk(0) - 1, prot, path);
    EQ(strcmp(path, "[heap]"), 0);
}

static void numbers(void) {
    static char text[1 << 16];
    slurp("/proc/self/stat", text, sizeof text);
    int pid, ppid, pgrp, session;
    char state;
    EQ(sscanf(text, "%d", &pid), 1);
    EQ(sscanf(strrchr(text, ')'), ") %c %d %d %d", &state, &ppid, &pgrp, &session), 4);
    EQ(pid, getpid());
    EQ(ppid, getppid());
    EQ(pgrp, getpgrp());
    EQ(session, getsid(0));
    CHECK(state == 'R' || state == 'S');
    slurp("/proc/self/status", text, sizeof text);
    char *line = strstr(text, "\nPid:\t");
    CHECK(line && atoi(line + 6) == getpid());
    line = strstr(text, "\nUid:\t");
    CHECK(line && (uid_t)atoi(line + 6) == getuid());
    CHECK((line = strstr(text, "\nThreads:\t")) && atoi(line + 10) == 1);
    CHECK((line = strstr(text, "\nSigIgn:\t")) && strtoull(line + 9, NULL, 16) >> (SIGWINCH - 1) & 1);
    CHECK((line = strstr(text, "\nTracerPid:\t")) && atoi(line + 12) == 0);
}

static void descriptors(void) {
    int seen = 0, fds[3] = {open("/dev/null", O_RDONLY), open("/dev/zero", O_RDONLY), dup(1)};
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while ((entry = readdir(dir)))
        seen += entry->d_name[0] != '.';
    static int before;
    if (before == 0)
        before = seen;
    EQ(seen, before);
    closedir(dir);
    char path[64], target[256] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[1]);
    EQ(readlink(path, target, sizeof target), 9);
    EQ(strcmp(target, "/dev/zero"), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    signal(SIGWINCH, SIG_IGN);
    static char exe[4096], exe2[4096], cwd[4096], text[1 << 18];
    void *volatile kept = malloc(100000);
    CHECK(kept);
    CHECK(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    while (t_more()) {
        memset(exe2, 0, sizeof exe2);
        CHECK(readlink("/proc/self/exe", exe2, sizeof exe2 - 1) > 0);
        EQ(strcmp(exe, exe2), 0);
        memset(text, 0, 4096);
        CHECK(getcwd(cwd, sizeof cwd) && readlink("/proc/self/cwd", text, 4096) > 0);
        EQ(strcmp(cwd, text), 0);
        size_t length = slurp("/proc/self/cmdline", text, sizeof text);
        EQ(strcmp(text, argv[0]), 0);
        CHECK(length > strlen(argv[0]));
        slurp("/proc/self/environ", text, sizeof text);
        slurp("/proc/self/comm", text, sizeof text);
        EQ(strncmp(text, "procself", 8), 0);
        maps(exe);
        numbers();
        descriptors();
        CHECK(realpath("/proc/self", text));
        EQ(atoi(text + 6), getpid());
    }
    t_ok(__FILE__);
}
