// Long arguments and a large environment survive exec, and stay readable in place and in /proc.
#include "t.h"

extern char **environ;
#define VARIABLES 100
#define ARGUMENTS 2000

static char *text(const char *format, int number, size_t length) {
    char *made = malloc(length + 32);
    size_t used = (size_t)sprintf(made, format, number);
    while (used < length)
        made[used] = (char)('a' + (used * 7 + (size_t)number) % 26), used++;
    made[used] = 0;
    return made;
}

static uint64_t all(char **list) {
    uint64_t hash = 0;
    for (; *list; list++)
        hash = hash * 31 + t_hash(*list, strlen(*list));
    return hash;
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "check") == 0) {
        t_spin(0.02);
        EQ(argc, ARGUMENTS);
        static char seen[1 << 18];
        int fd = open("/proc/self/environ", O_RDONLY);
        size_t have = 0;
        ssize_t n;
        while ((n = read(fd, seen + have, sizeof seen - have)) > 0)
            have += (size_t)n;
        close(fd);
        char *at = seen;
        for (char **variable = environ; *variable; variable++) {
            EQ(strcmp(at, *variable), 0);
            at += strlen(at) + 1;
        }
        EQ(at - seen, have);
        unsigned long long parts = strtoull(argv[2], NULL, 16);
        argv[2] = "";
        CHECK(all(argv) * 3 + all(environ) == parts);
        setenv("ADDED", "later", 1);
        CHECK(strcmp(getenv("ADDED"), "later") == 0);
        return 5;
    }
    t_init(argc, argv);
    static char *list[ARGUMENTS + 1], *variables[VARIABLES + 1];
    list[0] = argv[0];
    list[1] = "check";
    for (int i = 3; i < ARGUMENTS; i++)
        list[i] = text("argument %d ", i, (size_t)(i % 500));
    for (int i = 0; i < VARIABLES; i++)
        variables[i] = text("VARIABLE_%d=", i, 1100);
    list[2] = "";
    char parts[32];
    snprintf(parts, sizeof parts, "%llx", (unsigned long long)(all(list) * 3 + all(variables)));
    list[2] = parts;
    while (t_more()) {
        pid_t kid = fork();
        if (kid == 0) {
            execve("/proc/self/exe", list, variables);
            _exit(99);
        }
        EQ(WEXITSTATUS(t_wait(kid)), 5);
    }
    char *huge = text("%d", 1, 200000);
    FAILS(execl("/bin/true", "true", huge, (char *)NULL), E2BIG);
    t_ok(__FILE__);
}
