/* SPDX-License-Identifier: MIT */
/*
 * The block device's model: a request takes a fixed latency, then its bytes at the device's bandwidth. One request is
 * served at a time for the CPU that waits; queues and writes come with the writeback row.
 * Counts pgpgin in KiB, as /proc/vmstat does.
 */
#include "cache/cache.h"

void blkdev_read(struct cpu *cpu, u64 pages)
{
    u64 kib = pages * (PAGE_SIZE / 1024);

    charge(cpu, COST_DISK_LATENCY);
    charge_n(cpu, COST_DISK_KB, kib);
    count_vm_events(cpu, PGPGIN, kib);
    atomic_fetch_add_explicit(&cpu->m->cache->device_reads, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cpu->m->cache->device_read_pages, pages, memory_order_relaxed);
}

void blkdev_write(struct cpu *cpu, u64 pages)
{
    u64 kib = pages * (PAGE_SIZE / 1024);

    charge(cpu, COST_DISK_LATENCY);
    charge_n(cpu, COST_DISK_KB, kib);
    count_vm_events(cpu, PGPGOUT, kib);
}
