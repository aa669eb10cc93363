/* SPDX-License-Identifier: MIT */
/* execveat(2) by directory, descriptor and path, of a file without a name, and what it refuses. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int memory_copy(const char *path)
{
    int to = memfd_create("copy", 0), from = open(path, O_RDONLY);
    char part[4096];
    ssize_t n;

    while ((n = read(from, part, sizeof(part))) > 0)
        if (write(to, part, (size_t)n) != n)
            return -1;
    close(from);
    return to;
}

static void try(const char *what, int fd, const char *path, int flags)
{
    char *argv[] = {"echo", (char *)what, NULL}, *envp[] = {"A=b", NULL};

    fflush(stdout);
    if (fork() == 0) {
        syscall(SYS_execveat, fd, path, argv, envp, flags);
        _exit(1);
    }
    wait(NULL);
}

int main(void)
{
    int folder = open("/bin", O_PATH | O_DIRECTORY), file = open("/bin/echo", O_PATH);

    try("below a directory", folder, "echo", 0);
    try("a descriptor", file, "", AT_EMPTY_PATH);
    try("absolute", -1, "/bin/echo", 0);
    try("working directory", AT_FDCWD, "/bin/echo", 0);
    try("no name", memory_copy("/bin/echo"), "", AT_EMPTY_PATH);
    try("bad: missing", folder, "no-such-program", 0);
    try("bad: empty path", file, "", 0);
    try("bad: symbolic link", folder, "sh", AT_SYMLINK_NOFOLLOW);
    return 0;
}
