// Moves itself by the program interface and asks where it is: what it is told must be true at once, also at home after an exec.
// Arguments: rounds to go; the addresses of nodes 2 and 3, 0 until they are known. Run by tests/playground.rs in a cluster of three.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int rounds, address[4];

static int whereami(void) { return open("/proc/self/whereami", O_CREAT, 0); }

static void to(int node) {
    int result = open("/proc/self/migrate", O_WRONLY | O_CREAT, node);
    int where = whereami();
    if (address[node] == 0 && node != 0)
        address[node] = where;
    if (result != 0 || where != address[node] || (node != 0 && where == 0)) {
        printf("round %d: to %d: %d, and then at %x instead of %x\n", rounds, node, result, where, address[node]);
        exit(1);
    }
}

int main(int argc, char **argv) {
    rounds = atoi(argv[1]);
    address[2] = atoi(argv[2]);
    address[3] = atoi(argv[3]);
    if (argc > 4 && whereami() != 0) {
        printf("round %d: not at home after exec\n", rounds);
        return 1;
    }
    for (; rounds > 0; rounds--) {
        to(2);
        to(0);
        to(2);
        to(3);
        if (rounds % 2 == 0) {
            char words[3][16];
            snprintf(words[0], 16, "%d", rounds - 1);
            snprintf(words[1], 16, "%d", address[2]);
            snprintf(words[2], 16, "%d", address[3]);
            execl(argv[0], argv[0], words[0], words[1], words[2], "executed", NULL);
            return 1;
        }
        to(0);
    }
    printf("ok\n");
    return 0;
}
