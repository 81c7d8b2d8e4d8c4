// The C library's streams, as most programs use them: files, pipes to commands, temporary files, formatted text, locale.
#include "t.h"
#include <glob.h>
#include <pwd.h>
#include <sys/random.h>

static const char state_bytes[5000] = "first";

int main(int argc, char **argv) {
    t_init(argc, argv);
    while (t_more()) {
        FILE *out = fopen("numbers", "w");
        CHECK(out);
        for (int i = 0; i < 20000; i++)
            fprintf(out, "%d %x %.3f\n", i, (unsigned)i * 77, i / 3.0);
        EQ(fclose(out), 0);
        FILE *in = fopen("numbers", "r");
        int number;
        unsigned hex;
        double third;
        for (int i = 0; i < 20000; i++) {
            EQ(fscanf(in, "%d %x %lf", &number, &hex, &third), 3);
            CHECK(number == i && hex == (unsigned)i * 77);
        }
        EQ(fseek(in, -20, SEEK_END), 0);
        char line[200];
        CHECK(fgets(line, sizeof line, in));
        rewind(in);
        CHECK(fgets(line, sizeof line, in) && strcmp(line, "0 0 0.000\n") == 0);
        fclose(in);
        FILE *command = popen("sort -rn numbers | head -n 3 | cut -d' ' -f1", "r");
        CHECK(command);
        for (int i = 19999; i > 19996; i--) {
            CHECK(fgets(line, sizeof line, command));
            EQ(atoi(line), i);
        }
        EQ(pclose(command), 0);
        command = popen("cat >copied", "w");
        fputs("into a pipe\n", command);
        EQ(pclose(command), 0);
        EQ(system("test \"$(cat copied)\" = 'into a pipe'"), 0);
        EQ(WEXITSTATUS(system("exit 17")), 17);
        FILE *temporary = tmpfile();
        fwrite(&state_bytes, 1, sizeof state_bytes, temporary);
        rewind(temporary);
        CHECK(fgetc(temporary) == state_bytes[0]);
        fclose(temporary);
        glob_t found;
        EQ(glob("c*d", 0, NULL, &found), 0);
        EQ(found.gl_pathc, 1);
        globfree(&found);
        CHECK(getpwuid(0) && strcmp(getpwuid(0)->pw_name, "root") == 0);
        char noise[300];
        EQ(getrandom(noise, sizeof noise, 0), (ssize_t)sizeof noise);
    }
    t_ok(__FILE__);
}
