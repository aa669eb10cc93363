/* SPDX-License-Identifier: MIT */
/* N threads, each summing its own array again and again:
 * the benchmark program "threads". Usage: threads [threads] [rounds] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 1 << 17, MAX_THREADS = 64 };
static unsigned long rounds = 200;

static void *work(void *arg)
{
    unsigned long *words = malloc(WORDS * sizeof(*words)), sum = (unsigned long)arg;

    if (!words)
        abort();
    for (unsigned long i = 0; i < WORDS; i++)
        words[i] = i ^ sum;
    for (unsigned long r = 0; r < rounds; r++)
        for (unsigned long i = 0; i < WORDS; i++)
            sum += words[i] += r;
    free(words);
    return (void *)sum;
}

int main(int argc, char **argv)
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 2, total = 0;
    pthread_t thread[MAX_THREADS];

    if (argc > 2)
        rounds = strtoul(argv[2], NULL, 10);
    if (n > MAX_THREADS)
        n = MAX_THREADS;
    for (unsigned long i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)i))
            return 1;
    for (unsigned long i = 0; i < n; i++) {
        void *sum;

        pthread_join(thread[i], &sum);
        total += (unsigned long)sum;
    }
    printf("%lu\n", total);
    return 0;
}
