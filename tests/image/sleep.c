// Sleeps in a call that the kernel continues from a restart block.
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct timespec long_time = {600, 0};
	write(1, "r", 1);
	nanosleep(&long_time, 0);
	return 0;
}
