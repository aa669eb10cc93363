/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target without libFuzzer: on the files named, else on random strings.
 *
 *   TARGET [-runs=N] [-seed=S] [-max=BYTES] [-save=FILE] [FILE...]
 *
 * -save keeps the string that is running in FILE; scripts/minimize makes it shorter.
 */
#include "tests/fuzz/fuzz.h"

#include "port/posix/port_posix.h"

/* The string that is being run, printed when the target aborts. */
static u64 seed;
static unsigned long run;
static const char *save_name;

static void say_where(void *arg)
{
    char text[100];

    snprintf(text, sizeof(text), "in run %lu of -seed=%llu", run, (unsigned long long)seed);
    port_log(PORT_LOG_ERR, text);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static u64 rnd(u64 *state)
{
    u64 z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static int run_file(const char *name)
{
    static u8 data[1 << 20];
    FILE *f = fopen(name, "rb");
    size_t size;

    if (!f) {
        perror(name);
        return 1;
    }
    size = fread(data, 1, sizeof(data), f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    return 0;
}

static void save(const u8 *data, size_t size)
{
    FILE *f = fopen(save_name, "wb");

    if (f) {
        fwrite(data, 1, size, f);
        fclose(f);
    }
}

/* An exact copy: a sanitizer sees a read past the end. */
static void run_random(u64 state, size_t max)
{
    size_t size = rnd(&state) % (max + 1), i;
    u8 *data = malloc(size ? size : 1);

    for (i = 0; i < size; i++)
        data[i] = (u8)rnd(&state);
    if (save_name)
        save(data, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    unsigned long runs = 1000, max = 600;
    int failed = 0, nr_files = 0;

    seed = port_clock_ns();
    port_posix_add_assert_hook(say_where, NULL);
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "-runs=", 6))
            runs = strtoul(argv[i] + 6, NULL, 0);
        else if (!strncmp(argv[i], "-seed=", 6))
            seed = strtoull(argv[i] + 6, NULL, 0);
        else if (!strncmp(argv[i], "-max=", 5))
            max = strtoul(argv[i] + 5, NULL, 0);
        else if (!strncmp(argv[i], "-save=", 6))
            save_name = argv[i] + 6;
        else
            failed |= run_file(argv[i]), nr_files++;
    }
    if (nr_files)
        return failed;
    printf("-seed=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (run = 0; run < runs; run++) {
        u64 state = seed ^ run << 32; /* mixed once: streams that begin near each other would be parts of one */

        run_random(rnd(&state), max);
    }
    return 0;
}
