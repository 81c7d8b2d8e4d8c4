// libs: -lpthread
// What can only be at home: memory shared with others for writing, of all kinds. It must work, wherever the process was.
#include "t.h"
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void anonymous(void) {
    struct shared { sem_t there, back; volatile int value; } *shared;
    t_spin(0.01);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    EQ(sem_init(&shared->there, 1, 0), 0);
    EQ(sem_init(&shared->back, 1, 0), 0);
    pid_t kid = fork();
    if (kid == 0) {
        for (int i = 0; i < 200; i++) {
            EQ(sem_wait(&shared->there), 0);
            shared->value++;
            EQ(sem_post(&shared->back), 0);
        }
        _exit(0);
    }
    for (int i = 0; i < 200; i++) {
        shared->value++;
        EQ(sem_post(&shared->there), 0);
        EQ(sem_wait(&shared->back), 0);
        EQ(shared->value, 2 * i + 2);
    }
    EQ(t_wait(kid), 0);
    EQ(munmap(shared, sizeof *shared), 0);
}

static void file(void) {
    int fd = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EQ(ftruncate(fd, 8192), 0);
    t_spin(0.005);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), back[16] = "";
    CHECK(map != MAP_FAILED);
    strcpy(map + 5000, "through the map");
    EQ(pread(fd, back, 16, 5000), 16);
    EQ(strcmp(back, "through the map"), 0);
    EQ(pwrite(fd, "T", 1, 5000), 1);
    EQ(map[5000], 'T');
    t_spin(0.005);
    EQ(msync(map, 8192, MS_SYNC), 0);
    EQ(munmap(map, 8192), 0);
    close(fd);
}

static void system_v(void) {
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    CHECK(id != -1);
    t_spin(0.005);
    volatile int *at = shmat(id, NULL, 0);
    CHECK(at != (void *)-1);
    pid_t kid = fork();
    if (kid == 0) {
        at[10] = 4711;
        _exit(0);
    }
    EQ(t_wait(kid), 0);
    EQ(at[10], 4711);
    EQ(shmdt((void *)at), 0);
    EQ(shmctl(id, IPC_RMID, NULL), 0);
}

static void queues(void) {
    struct message { long type; char text[32]; } message = {2, "to the queue"};
    int queue = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, 2, 0600);
    CHECK(queue != -1 && set != -1);
    EQ(semctl(set, 0, SETVAL, 3), 0);
    pid_t kid = fork();
    if (kid == 0) {
        t_spin(0.002);
        EQ(msgsnd(queue, &message, 13, 0), 0);
        struct sembuf down = {0, -2, 0};
        EQ(semop(set, &down, 1), 0);
        _exit(0);
    }
    struct message got;
    EQ(msgrcv(queue, &got, sizeof got.text, 2, 0), 13);
    EQ(strcmp(got.text, "to the queue"), 0);
    EQ(t_wait(kid), 0);
    EQ(semctl(set, 0, GETVAL), 1);
    FAILS(msgrcv(queue, &got, 32, 0, IPC_NOWAIT), ENOMSG);
    struct sembuf never = {0, -5, IPC_NOWAIT};
    FAILS(semop(set, &never, 1), EAGAIN);
    EQ(msgctl(queue, IPC_RMID, NULL), 0);
    EQ(semctl(set, 0, IPC_RMID), 0);
}

static void memory_file(void) {
    int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EQ(write(fd, "sealed", 6), 6);
    EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);
    FAILS(write(fd, "x", 1), EPERM);
    char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    t_spin(0.003);
    EQ(memcmp(map, "sealed", 6), 0);
    EQ(munmap(map, 4096), 0);
    close(fd);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        anonymous();
        file();
        system_v();
        queues();
        memory_file();
        t_spin(0.02);
    }
    t_ok(__FILE__);
}
