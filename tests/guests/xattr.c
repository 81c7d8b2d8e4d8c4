// Extended attributes: set, read, listed, removed, by path, by link and by descriptor; errors of sizes.
#include "t.h"
#include <sys/xattr.h>

int main(int argc, char **argv) {
    t_init(argc, argv);
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    char value[4000], list[4096];
    if (setxattr("file", "user.probe", "1", 1, 0) == -1 && errno == EOPNOTSUPP) {
        puts("no attributes here");
        t_ok(__FILE__);
    }
    EQ(removexattr("file", "user.probe"), 0);
    while (t_more()) {
        EQ(setxattr("file", "user.one", "first", 5, XATTR_CREATE), 0);
        FAILS(setxattr("file", "user.one", "again", 5, XATTR_CREATE), EEXIST);
        FAILS(setxattr("file", "user.two", "x", 1, XATTR_REPLACE), ENODATA);
        memset(value, 'v', 2000);
        EQ(fsetxattr(fd, "user.two", value, 2000, 0), 0);
        EQ(lsetxattr("file", "user.none", NULL, 0, 0), 0);
        memset(value, 0, sizeof value);
        EQ(getxattr("file", "user.two", NULL, 0), 2000);
        FAILS(getxattr("file", "user.two", value, 10), ERANGE);
        EQ(fgetxattr(fd, "user.two", value, sizeof value), 2000);
        CHECK(value[0] == 'v' && value[1999] == 'v' && value[2000] == 0);
        EQ(lgetxattr("file", "user.one", value, sizeof value), 5);
        EQ(memcmp(value, "first", 5), 0);
        EQ(getxattr("file", "user.none", value, sizeof value), 0);
        t_spin(0.002);
        ssize_t length = flistxattr(fd, list, sizeof list);
        int seen = 0;
        for (char *name = list; name < list + length; name += strlen(name) + 1)
            seen += strncmp(name, "user.", 5) == 0;
        EQ(seen, 3);
        EQ(removexattr("file", "user.one"), 0);
        EQ(fremovexattr(fd, "user.two"), 0);
        EQ(lremovexattr("file", "user.none"), 0);
        FAILS(getxattr("file", "user.one", value, 10), ENODATA);
    }
    close(fd);
    t_ok(__FILE__);
}
