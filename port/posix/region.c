/* SPDX-License-Identifier: MIT */
/*
 * Regions on Linux: a memfd is the memory, so it is sparse, shared by every mapping and gone with the last one. The
 * handle is the memfd's number in the creating process (memfd_create(2), fallocate(2), mmap(2)).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "port/posix/port_posix.h"

static int map_at(void *addr, size_t size, int fd, off_t offset, int how)
{
    void *p = mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | how, fd, offset);

    if (p == MAP_FAILED)
        return -errno;
    if (p == addr)
        return 0;
    munmap(p, size); /* kernels before 4.17 take the address as a hint */
    return -EEXIST;
}

int port_region_attach(int handle, void *addr, size_t size)
{
    int err = map_at(addr, size, handle, 0, MAP_FIXED_NOREPLACE);

    if (!err)
        madvise(addr, size, MADV_DONTDUMP); /* a core file of a machine's whole RAM helps nobody */
    return err;
}

int port_region_create(const char *name, void *addr, size_t size, int *handle)
{
    int fd = memfd_create(name, MFD_CLOEXEC), err;

    if (fd < 0)
        return -errno;
    err = ftruncate(fd, (off_t)size) ? -errno : port_region_attach(fd, addr, size);
    if (err) {
        close(fd);
        return err == -EFBIG ? -ENOMEM : err;
    }
    *handle = fd;
    return 0;
}

int port_region_alias(int handle, void *region, void *dst, void *src, size_t len)
{
    int err = map_at(dst, len, handle, (off_t)((char *)src - (char *)region), MAP_FIXED);

    if (!err)
        madvise(dst, len, MADV_DONTDUMP);
    return err;
}

int port_region_discard(void *addr, size_t len)
{
    return madvise(addr, len, MADV_REMOVE) ? -errno : 0;
}

void port_region_unmap(void *addr, size_t size)
{
    munmap(addr, size);
}

void port_region_close(int handle)
{
    close(handle);
}

/* "/proc/PID/fd/N" without stdio. */
static char *put_number(char *p, unsigned int n)
{
    char digits[12];
    int len = 0;

    do {
        digits[len++] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    while (len)
        *p++ = digits[--len];
    return p;
}

static char *put_text(char *p, const char *text)
{
    while (*text)
        *p++ = *text++;
    return p;
}

int port_posix_open_handle(int pid, int handle)
{
    char path[64], *p = put_text(path, "/proc/");
    int fd;

    if (pid <= 0 || handle < 0)
        return -EINVAL;
    p = put_text(put_number(p, (unsigned int)pid), "/fd/");
    *put_number(p, (unsigned int)handle) = 0;
    fd = open(path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void port_posix_close_handle(int handle)
{
    close(handle);
}
