// exec: vfork and exec in a loop, posix_spawn, a script, arguments and environment as given, errors for what is missing.
#include "t.h"
#include <spawn.h>

extern char **environ;

static void make_script(const char *path, const char *text, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd != -1);
    CHECK(t_write_all(fd, text, strlen(text)));
    EQ(fchmod(fd, mode), 0);
    close(fd);
}

static void vfork_loop(char *self) {
    for (int i = 0; i < 5; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        pid_t kid = vfork();
        if (kid == 0) {
            execl(self, self, "--child", number, (char *)NULL);
            _exit(99);
        }
        CHECK(kid > 0);
        EQ(WEXITSTATUS(t_wait(kid)), 40 + i);
    }
}

static void spawn_it(char *self) {
    char *args[] = {self, "--child", "5", NULL};
    char *env[] = {"MARK=42", NULL};
    pid_t kid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 9, "/dev/null", O_WRONLY, 0);
    EQ(posix_spawn(&kid, self, &actions, NULL, args, env), 0);
    posix_spawn_file_actions_destroy(&actions);
    EQ(WEXITSTATUS(t_wait(kid)), 45);
    args[0] = "./no such program";
    EQ(posix_spawn(&kid, args[0], NULL, NULL, args, env), ENOENT);
}

static void scripts(void) {
    make_script("script.sh", "#!/bin/sh -e\nx=$1\nwhile [ $x -gt 0 ]; do x=$((x - 1)); done\nexit 33\n", 0700);
    pid_t kid = fork();
    if (kid == 0) {
        execl("./script.sh", "script.sh", "1000", (char *)NULL);
        _exit(99);
    }
    EQ(WEXITSTATUS(t_wait(kid)), 33);
}

static void errors(char *self) {
    char *args[] = {"x", NULL};
    FAILS(execv("./missing", args), ENOENT);
    FAILS(execv("/", args), EACCES);
    make_script("plain", "not a program\n", 0600);
    if (getuid() != 0)
        FAILS(execv("./plain", args), EACCES);
    make_script("noise", "\001\002\003", 0700);
    FAILS(execv("./noise", args), ENOEXEC);
    make_script("lost", "#!/no/such/interpreter\n", 0700);
    FAILS(execv("./lost", args), ENOENT);
    char path[5000];
    snprintf(path, sizeof path, "%s/below", self);
    FAILS(execv(path, args), ENOTDIR);
    char *const *volatile wild = (char *const *)8;
    FAILS(execve(self, wild, environ), EFAULT);
}

static void in_place(char *self) {
    pid_t kid = fork();
    if (kid == 0) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", getpid());
        t_spin(0.02);
        execl(self, self, "--samepid", pid, "4", (char *)NULL);
        _exit(99);
    }
    EQ(WEXITSTATUS(t_wait(kid)), 21);
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "--child") == 0) {
        if (strcmp(argv[2], "5") == 0)
            CHECK(environ[0] && strcmp(environ[0], "MARK=42") == 0 && !environ[1] && fcntl(9, F_GETFD) == 0);
        return 40 + atoi(argv[2]);
    }
    if (argc > 3 && strcmp(argv[1], "--samepid") == 0) {
        EQ(atoi(argv[2]), getpid());
        int left = atoi(argv[3]);
        if (left == 0)
            return 21;
        t_spin(0.01);
        char next[16];
        snprintf(next, sizeof next, "%d", left - 1);
        execl(argv[0], argv[0], "--samepid", argv[2], next, (char *)NULL);
        return 98;
    }
    t_init(argc, argv);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    self[n] = 0;
    while (t_more()) {
        vfork_loop(self);
        spawn_it(self);
        scripts();
        errors(self);
        in_place(self);
    }
    t_ok(__FILE__);
}
