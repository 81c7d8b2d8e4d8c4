// libs: -lpthread
// variants: static musl
// Threads: made, joined, ended by themselves; mutexes, conditions, barriers; a thread's own data, number, name and signals.
#include "t.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { WORKERS = 6, STEPS = 400 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t gate;
static long sum;
static int turn;
static __thread long own;
static volatile sig_atomic_t caught[WORKERS];

static void *count(void *arg) {
    long number = (long)arg;
    pid_t tid = syscall(SYS_gettid);
    own = number;
    for (int i = 0; i < STEPS; i++) {
        pthread_mutex_lock(&lock);
        sum++;
        pthread_mutex_unlock(&lock);
        if (i % 100 == 0) {
            EQ(own, number);
            EQ(syscall(SYS_gettid), tid);
            CHECK(tid != getpid());
        }
    }
    return (void *)(number + 1);
}

static void counting(void) {
    pthread_t threads[WORKERS];
    sum = 0;
    for (long i = 0; i < WORKERS; i++)
        EQ(pthread_create(&threads[i], NULL, count, (void *)i), 0);
    for (long i = 0; i < WORKERS; i++) {
        void *value;
        EQ(pthread_join(threads[i], &value), 0);
        EQ((long)value, i + 1);
    }
    EQ(sum, WORKERS * STEPS);
}

static void *player(void *arg) {
    long me = (long)arg;
    for (int i = 0; i < 40; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&turned, &lock);
        turn = !me;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void ping_pong(void) {
    pthread_t threads[2];
    turn = 0;
    for (long i = 0; i < 2; i++)
        EQ(pthread_create(&threads[i], NULL, player, (void *)i), 0);
    for (int i = 0; i < 2; i++)
        EQ(pthread_join(threads[i], NULL), 0);
}

static void on_signal(int signo) {
    (void)signo;
    caught[own]++;
}

static void *waits(void *arg) {
    char name[16], read_back[16] = "";
    own = (long)arg;
    snprintf(name, sizeof name, "worker-%ld", own);
    EQ(prctl(PR_SET_NAME, name), 0);
    pthread_barrier_wait(&gate);
    while (!caught[own])
        usleep(1000);
    EQ(prctl(PR_GET_NAME, read_back), 0);
    CHECK(strcmp(name, read_back) == 0);
    pthread_barrier_wait(&gate);
    EQ(caught[own], 1);
    return NULL;
}

static void signals(void) {
    pthread_t threads[WORKERS];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    EQ(pthread_barrier_init(&gate, NULL, WORKERS + 1), 0);
    for (long i = 0; i < WORKERS; i++) {
        caught[i] = 0;
        EQ(pthread_create(&threads[i], NULL, waits, (void *)i), 0);
    }
    pthread_barrier_wait(&gate);
    for (int i = 0; i < WORKERS; i++)
        EQ(pthread_kill(threads[i], SIGUSR1), 0);
    pthread_barrier_wait(&gate);
    for (int i = 0; i < WORKERS; i++)
        EQ(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&gate);
}

static void *sleeps(void *arg) {
    (void)arg;
    for (;;)
        sleep(10);
    return NULL;
}

static void cancelling(void) {
    pthread_t thread;
    void *value;
    EQ(pthread_create(&thread, NULL, sleeps, NULL), 0);
    t_spin(0.002);
    EQ(pthread_cancel(thread), 0);
    EQ(pthread_join(thread, &value), 0);
    CHECK(value == PTHREAD_CANCELED);
}

static void *forks(void *arg) {
    (void)arg;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    EQ(WEXITSTATUS(t_wait(child)), 7);
    return NULL;
}

static void forking(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        EQ(pthread_create(&threads[i], NULL, forks, NULL), 0);
    for (int i = 0; i < 2; i++)
        EQ(pthread_join(threads[i], NULL), 0);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        counting();
        ping_pong();
        signals();
        cancelling();
        forking();
    }
    t_ok(__FILE__);
}
