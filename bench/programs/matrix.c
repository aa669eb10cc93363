/* SPDX-License-Identifier: MIT */
/* A plain matrix product, n x n doubles: the benchmark program "matrix". Usage: matrix [n] */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 400;
    double *a = malloc(n * n * sizeof(*a)), *b = malloc(n * n * sizeof(*b)), *c = calloc(n * n, sizeof(*c));

    if (!a || !b || !c)
        return 1;
    for (size_t i = 0; i < n * n; i++) {
        a[i] = (double)(i % 97);
        b[i] = (double)(i % 89);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;

            for (size_t k = 0; k < n; k++)
                sum += a[i * n + k] * b[k * n + j];
            c[i * n + j] = sum;
        }
    printf("%.0f\n", c[n * n / 2 + n / 3]);
    free(a);
    free(b);
    free(c);
    return 0;
}
