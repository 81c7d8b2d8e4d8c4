# needs: gcc make ar
cat >part.h <<'X'
int twice(int);
X
cat >part.c <<'X'
#include "part.h"
int twice(int x) { return 2 * x; }
X
cat >main.c <<'X'
#include <stdio.h>
#include "part.h"
int main(void) { int s = 0; for (int i = 0; i < 40000000; i++) s ^= twice(i); printf("%d\n", s); return s & 3; }
X
printf 'all: prog\nlib.a: part.o\n\tar rc $@ $<\nprog: main.o lib.a\n\tgcc -o $@ main.o lib.a\n%%.o: %%.c part.h\n\tgcc -O1 -c -o $@ $<\n' >Makefile
make -s -j3 && ./prog; echo "status $?"
make -s; touch part.h; make -n | wc -l
rm -f *.o lib.a prog
