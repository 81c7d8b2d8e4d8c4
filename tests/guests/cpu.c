// variants: static nopie musl stripped
// Nothing but computing: primes, hashes, a matrix, a sort; the results are the same in every round and every run.
#include "t.h"

#define LIMIT 2000000
static unsigned char composite[LIMIT];
static double matrix[3][120][120];
static uint64_t list[200000];

static int primes(void) {
    int count = 0;
    memset(composite, 0, sizeof composite);
    for (int i = 2; i < LIMIT; i++) {
        if (composite[i])
            continue;
        count++;
        for (long k = (long)i * i; k < LIMIT; k += i)
            composite[k] = 1;
    }
    return count;
}

static uint64_t product(void) {
    for (int i = 0; i < 120; i++)
        for (int k = 0; k < 120; k++) {
            matrix[0][i][k] = (i * 7 + k) % 13 / 3.0;
            matrix[1][i][k] = (i + k * 5) % 11 / 7.0;
            matrix[2][i][k] = 0;
        }
    for (int i = 0; i < 120; i++)
        for (int k = 0; k < 120; k++)
            for (int j = 0; j < 120; j++)
                matrix[2][i][k] += matrix[0][i][j] * matrix[1][j][k];
    return t_hash(matrix[2], sizeof matrix[2]);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t sorted(void) {
    uint64_t state = 31337;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        list[i] = t_random(&state);
    qsort(list, sizeof list / sizeof list[0], sizeof list[0], compare);
    return t_hash(list, sizeof list);
}

int main(int argc, char **argv) {
    t_init(argc, argv);
    int count = primes();
    uint64_t hash = product(), order = sorted();
    while (t_more()) {
        EQ(primes(), count);
        EQ(product(), (int64_t)hash);
        EQ(sorted(), (int64_t)order);
    }
    printf("%d %016llx\n", count, (unsigned long long)order);
    t_ok(__FILE__);
}
