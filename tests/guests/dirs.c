// Directories: 3000 entries read in many calls, positions kept, renamed, removed; kinds of files and their metadata.
#include "t.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

static void many(void) {
    enum { COUNT = 3100 };
    static char seen[COUNT];
    char name[64];
    EQ(mkdir("many", 0700), 0);
    int at = open("many", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "an entry with number %d", i);
        int fd = openat(at, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        CHECK(fd != -1);
        close(fd);
    }
    for (int round = 0; round < 2; round++) {
        memset(seen, 0, sizeof seen);
        DIR *dir = opendir("many");
        struct dirent *entry;
        int total = 0, dots = 0, number;
        while ((entry = readdir(dir))) {
            if (entry->d_name[0] == '.') {
                dots++;
                continue;
            }
            EQ(sscanf(entry->d_name, "an entry with number %d", &number), 1);
            EQ(seen[number]++, 0);
            CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
            if (++total == COUNT / 2) {
                long here = telldir(dir);
                CHECK((entry = readdir(dir)));
                snprintf(name, sizeof name, "%.40s", entry->d_name);
                seekdir(dir, here);
                CHECK((entry = readdir(dir)) && strcmp(entry->d_name, name) == 0);
                EQ(sscanf(entry->d_name, "an entry with number %d", &number), 1);
                EQ(seen[number]++, 0);
                total++;
            }
        }
        EQ(dots, 2);
        EQ(total, COUNT);
        closedir(dir);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "an entry with number %d", i);
        EQ(unlinkat(at, name, 0), 0);
    }
    close(at);
    EQ(rmdir("many"), 0);
}

static void kinds(void) {
    struct stat st, other;
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0640);
    EQ(write(fd, "0123456789", 10), 10);
    EQ(fstat(fd, &st), 0);
    EQ(st.st_size, 10);
    EQ(st.st_mode, S_IFREG | 0640);
    EQ(link("file", "hard"), 0);
    EQ(symlink("file", "soft"), 0);
    EQ(stat("hard", &other), 0);
    EQ(other.st_ino, st.st_ino);
    EQ(other.st_nlink, 2);
    EQ(stat("soft", &other), 0);
    EQ(other.st_ino, st.st_ino);
    EQ(lstat("soft", &other), 0);
    CHECK(S_ISLNK(other.st_mode));
    char target[16] = "";
    EQ(readlink("soft", target, sizeof target), 4);
    EQ(strcmp(target, "file"), 0);
    EQ(readlink("soft", target, 2), 2);
    FAILS(open("soft", O_RDONLY | O_NOFOLLOW), ELOOP);
    FAILS(link("file", "soft"), EEXIST);
    FAILS(rmdir("file"), ENOTDIR);
    FAILS(stat("file/x", &st), ENOTDIR);
    EQ(rename("hard", "harder"), 0);
    FAILS(stat("hard", &st), ENOENT);
    struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    EQ(futimens(fd, times), 0);
    struct statx wide;
    EQ(statx(AT_FDCWD, "harder", 0, STATX_BASIC_STATS, &wide), 0);
    EQ(wide.stx_mtime.tv_sec, 1100000000);
    EQ(wide.stx_size, 10);
    EQ(truncate("file", 4), 0);
    EQ(lseek(fd, 0, SEEK_END), 4);
    EQ(posix_fallocate(fd, 0, 5000), 0);
    EQ(fstat(fd, &st), 0);
    EQ(st.st_size, 5000);
    EQ(chmod("file", 0400), 0);
    EQ(access("file", R_OK), 0);
    EQ(faccessat(AT_FDCWD, "nothing", F_OK, 0), -1);
    EQ(mknod("fifo", S_IFIFO | 0600, 0), 0);
    EQ(stat("fifo", &st), 0);
    CHECK(S_ISFIFO(st.st_mode));
    EQ(stat("/dev/null", &st), 0);
    CHECK(S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 && minor(st.st_rdev) == 3);
    struct statvfs fs;
    EQ(fstatvfs(fd, &fs), 0);
    CHECK(fs.f_bsize > 0 && fs.f_namemax >= 255);
    EQ(fsync(fd), 0);
    close(fd);
    EQ(unlink("file") | unlink("harder") | unlink("soft") | unlink("fifo"), 0);
}

static void unnamed(void) {
    char name[] = "temp-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd != -1);
    EQ(unlink(name), 0);
    EQ(write(fd, "still here", 10), 10);
    t_spin(0.002);
    char text[16] = "";
    EQ(pread(fd, text, sizeof text, 6), 4);
    EQ(strcmp(text, "here"), 0);
    close(fd);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    many();
    while (t_more()) {
        kinds();
        unnamed();
    }
    t_ok(__FILE__);
}
