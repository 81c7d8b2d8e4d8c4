// libs: -ldl -rdynamic
// Libraries loaded and dropped at run time; symbols found; the program's own symbols too.
#include "t.h"
#include <dlfcn.h>

int exported(int value) { return value * 2; }

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        void *lib = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
        CHECK(lib);
        double (*cosine)(double) = (double (*)(double))dlsym(lib, "cos");
        CHECK(cosine && cosine(0) == 1);
        t_spin(0.01);
        CHECK(cosine(0.5) > 0.877 && cosine(0.5) < 0.878);
        void *other = dlopen("libz.so.1", RTLD_LAZY);
        if (other) {
            unsigned long (*crc)(unsigned long, const void *, unsigned) =
                (unsigned long (*)(unsigned long, const void *, unsigned))dlsym(other, "crc32");
            EQ(crc(0, "123456789", 9), 0xcbf43926);
            t_spin(0.005);
            EQ(dlclose(other), 0);
        }
        EQ(dlclose(lib), 0);
        CHECK(!dlopen("libdoes-not-exist.so.9", RTLD_NOW) && dlerror());
        void *self = dlopen(NULL, RTLD_NOW);
        int (*mine)(int) = (int (*)(int))dlsym(self, "exported");
        CHECK(mine && mine(21) == 42);
        CHECK(!dlsym(self, "no such symbol"));
        dlclose(self);
    }
    t_ok(__FILE__);
}
