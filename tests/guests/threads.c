// variants: static musl
// libs: -lpthread
// Threads: mutexes, conditions, own storage, signals to one of them, forks and joins. They may stay at home; they must be right.
#include "t.h"
#include <pthread.h>
#include <sys/syscall.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;
static __thread long own;
static __thread volatile int hits;
static volatile int total;

static void hit(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)si, (void)context;
    hits++;
    total++;
}

static void *work(void *argument) {
    long number = (long)argument;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        own += number;
        pthread_mutex_unlock(&lock);
    }
    for (int round = 0; round < 20; round++) {
        pthread_mutex_lock(&lock);
        while (turn % 4 != number)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    CHECK(syscall(SYS_gettid) != getpid());
    return (void *)own;
}

static void *listen(void *argument) {
    (void)argument;
    while (hits < 3)
        t_spin(0.0005);
    return (void *)(long)hits;
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    t_handle(SIGUSR1, hit, SA_RESTART);
    while (t_more()) {
        pthread_t threads[4];
        counter = turn = 0;
        for (long i = 0; i < 4; i++)
            EQ(pthread_create(&threads[i], NULL, work, (void *)i), 0);
        for (long i = 0; i < 4; i++) {
            void *result;
            EQ(pthread_join(threads[i], &result), 0);
            EQ((long)result, i * 2000);
        }
        EQ(counter, 8000);
        EQ(turn, 80);
        EQ(own, 0);
        pthread_t listener;
        EQ(pthread_create(&listener, NULL, listen, NULL), 0);
        void *heard = NULL;
        for (int i = 0; i < 3; i++) {
            int before = total;
            EQ(pthread_kill(listener, SIGUSR1), 0);
            while (total == before)
                t_sleep(0.001);
        }
        EQ(pthread_join(listener, &heard), 0);
        EQ((long)heard, 3);
        EQ(hits, 0);
        pid_t kid = fork();
        if (kid == 0) {
            EQ(syscall(SYS_gettid), getpid());
            t_spin(0.005);
            _exit(6);
        }
        EQ(WEXITSTATUS(t_wait(kid)), 6);
        t_spin(0.01);
    }
    t_ok(__FILE__);
}
