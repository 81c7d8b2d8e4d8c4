// libs: -lrt
// POSIX timers and timerfd: values carried, overruns counted, absolute and relative, disarmed.
#include "t.h"
#include <poll.h>
#include <sys/timerfd.h>

static volatile int ticks, value, code;
static void tick(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    code = si->si_code;
    value = si->si_value.sival_int;
    ticks++;
}

static struct itimerspec spec(long first_ms, long every_ms) {
    return (struct itimerspec){{every_ms / 1000, every_ms % 1000 * 1000000}, {first_ms / 1000, first_ms % 1000 * 1000000}};
}

static void posix_timer(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value = {.sival_int = 616}};
    timer_t timer;
    EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    struct itimerspec want = spec(5, 5), now;
    ticks = 0;
    EQ(timer_settime(timer, 0, &want, NULL), 0);
    while (ticks < 10)
        t_spin(0.001);
    EQ(code, SI_TIMER);
    EQ(value, 616);
    EQ(timer_gettime(timer, &now), 0);
    CHECK(now.it_interval.tv_nsec == 5000000 && now.it_value.tv_sec == 0 && now.it_value.tv_nsec <= 5000000);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    t_spin(0.06);
    siginfo_t si;
    EQ(sigwaitinfo(&set, &si), SIGRTMIN);
    CHECK(timer_getoverrun(timer) >= 8);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    want = spec(0, 0);
    EQ(timer_settime(timer, 0, &want, NULL), 0);
    EQ(timer_delete(timer), 0);
    FAILS(timer_gettime(timer, &now), EINVAL);
}

static void descriptor(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    uint64_t count = 0, total = 0;
    struct itimerspec want = spec(30, 10), now;
    FAILS(read(fd, &count, sizeof count), EAGAIN);
    double begin = t_now();
    EQ(timerfd_settime(fd, 0, &want, NULL), 0);
    EQ(timerfd_gettime(fd, &now), 0);
    CHECK(now.it_value.tv_nsec <= 30000000 && now.it_interval.tv_nsec == 10000000);
    struct pollfd p = {fd, POLLIN, 0};
    while (total < 8) {
        EQ(poll(&p, 1, 10000), 1);
        EQ(read(fd, &count, sizeof count), 8);
        total += count;
    }
    CHECK(t_now() - begin >= 0.0999);
    FAILS(read(fd, &count, 4), EINVAL);
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += 40000000;
    if (at.tv_nsec >= 1000000000)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    want = (struct itimerspec){{0, 0}, at};
    EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &want, NULL), 0);
    EQ(fcntl(fd, F_SETFL, 0), 0);
    EQ(read(fd, &count, sizeof count), 8);
    EQ(count, 1);
    double end = (double)at.tv_sec + (double)at.tv_nsec / 1e9;
    CHECK(t_now() >= end && t_now() < end + 5);
    close(fd);
}

static void absolute_sleep(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += 20000000;
    if (at.tv_nsec >= 1000000000)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    int error;
    while ((error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL)) == EINTR)
        ;
    EQ(error, 0);
    CHECK(t_now() >= (double)at.tv_sec + (double)at.tv_nsec / 1e9);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    t_handle(SIGRTMIN, tick, SA_RESTART);
    while (t_more()) {
        posix_timer();
        descriptor();
        absolute_sleep();
    }
    t_ok(__FILE__);
}
