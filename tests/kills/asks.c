// Asks for node 2 through the program interface, which answers when it is there or cannot get there.
#include <fcntl.h>

int main(void) { return open("/proc/self/migrate", O_WRONLY | O_CREAT, 2) == -1; }
