/* SPDX-License-Identifier: MIT */
/*
 * Expectations are 6.18's. On another kernel, or on a machine with more than the library models, some ops are not asked:
 * one named rule each, with its reason.
 */
#include "tests/oracle/generate.h"

#include "cache/filemap.h"
#include "vm/madvise.h"

static bool is_call(const struct oracle_op *op, enum abi_nr nr)
{
    return op->kind == ORACLE_SYSCALL && op->nr == nr;
}

static bool any_process_madvise(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_process_madvise);
}

static bool any_mremap(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_mremap);
}

static bool registrations(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_membarrier) && (op->arg[0] == 512 || !op->arg[0]);
}

/* More than a part of one mapping. */
static bool populate(struct generator *g, const struct oracle_op *op)
{
    struct vm_area_struct *vma;

    if (!is_call(op, ABI_madvise) || (op->arg[2] != 22 && op->arg[2] != 23))
        return false;
    vma = vma_lookup(g->v->cpu, gen_mm(g), op->arg[0] & PAGE_MASK);
    return !vma || op->arg[1] > vma->vm_end - (op->arg[0] & PAGE_MASK);
}

static bool noexec_seal(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_memfd_create) && (op->arg[1] & 0x18);
}

static bool on_fault(struct generator *g, const struct oracle_op *op)
{
    return (is_call(op, ABI_mlock2) && op->arg[2]) || (is_call(op, ABI_mlockall) && (op->arg[0] & 4));
}

static bool stack_flag(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_mmap) && (op->arg[3] & MAP_STACK_);
}

static bool over_special(struct generator *g, const struct oracle_op *op)
{
    return (is_call(op, ABI_mmap) || is_call(op, ABI_munmap) || is_call(op, ABI_shmat)) &&
           !range_readable(g, op->arg[0], op->arg[1]);
}

static bool limits(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_setrlimit) || is_call(op, ABI_prlimit64);
}

#define ACCOUNTED_MOST (64ul << 20) /* more: may be refused for want of memory */
#define LOOKED_AT_MOST (1ul << 30)  /* more: takes the kernel long */

static bool is_sealed(struct generator *g, const struct oracle_op *op)
{
    const struct file *file;

    if (op->argkind[4] != ORACLE_FD || !(op->arg[2] & PROT_WRITE_))
        return false;
    file = g->v->fd[op->proc][op->arg[4]];
    return file && memfd_get_seals(file) > 0;
}

static bool refused_after_unmapping(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_mmap) &&
           ((op->arg[3] & (MAP_SYNC_ | MAP_HUGETLB_)) || op->arg[1] > ACCOUNTED_MOST || is_sealed(g, op));
}

static bool execve_layout(struct generator *g, const struct oracle_op *op)
{
    return op->kind == ORACLE_EXECVE;
}

static bool write_zeroes(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_fallocate) && (op->arg[1] & 0x80);
}

static bool exec_seal(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_fcntl) && op->arg[1] == 1033 && (op->arg[2] & 0x20);
}

/* IPC_STAT, SHM_STAT, SHM_STAT_ANY */
static bool shm_stat(struct generator *g, const struct oracle_op *op)
{
    u32 cmd = (u32)op->arg[1] & ~0x100u; /* IPC_64 */

    return is_call(op, ABI_shmctl) && (cmd == 2 || cmd == 13 || cmd == 15);
}

static bool memory_merge(struct generator *g, const struct oracle_op *op)
{
    return is_call(op, ABI_prctl) && (op->arg[0] == 67 || op->arg[0] == 68);
}

/* Writing goes from a private mapping that is accounted and has no pages of its own. */
static bool unaccounted(struct generator *g, const struct oracle_op *op)
{
    struct vm_area_struct *vma;

    if ((!is_call(op, ABI_mprotect) && !is_call(op, ABI_pkey_mprotect)) || (op->arg[2] & PROT_WRITE_))
        return false;
    for_each_vma (vma, gen_mm(g))
        if ((vma->vm_flags & VM_ACCOUNT) && !vma->anon_vma && vma->vm_end > op->arg[0] &&
            vma->vm_start < op->arg[0] + op->arg[1])
            return true;
    return false;
}

/* PKRU would refuse the child its own memory. */
static bool key_of_all(struct generator *g, const struct oracle_op *op)
{
    const struct mm *mm = gen_mm(g);
    bool protects = is_call(op, ABI_mmap) || is_call(op, ABI_mprotect) || is_call(op, ABI_pkey_mprotect);

    if (!g->host->pkeys || (mm->pkey_allocation_map & 1))
        return false;
    return (is_call(op, ABI_pkey_alloc) && op->arg[1]) || (protects && (op->arg[2] & 7) == PROT_EXEC_);
}

/* mincore() of zero pages: whether a forked process has them, see oracle_mix_page(). */
static bool zero_pages(struct generator *g, const struct oracle_op *op)
{
    u64 end = op->arg[0] + op->arg[1];
    struct vm_area_struct *vma;

    if (!is_call(op, ABI_mincore) || end < op->arg[0])
        return false;
    for_each_vma (vma, gen_mm(g))
        for (va_t at = MAX(vma->vm_start, op->arg[0] & PAGE_MASK); at < MIN(vma->vm_end, end); at += PAGE_SIZE)
            if (model_zero_page(g->v, vma, at))
                return true;
    return false;
}

/* The kernel looks for a merged page at each address of each mapping with pages of its own: minutes for terabytes. */
static bool unmerge_much(struct generator *g, const struct oracle_op *op)
{
    bool all = is_call(op, ABI_prctl) && (u32)op->arg[0] == 67 && !op->arg[1];
    bool advice = (is_call(op, ABI_madvise) && (u32)op->arg[2] == MADV_UNMERGEABLE_) ||
                  (is_call(op, ABI_process_madvise) && (u32)op->arg[3] == MADV_UNMERGEABLE_);
    struct vm_area_struct *vma;
    u64 bytes = 0;

    if (!all && !advice)
        return false;
    for_each_vma (vma, gen_mm(g))
        if (vma->anon_vma && (all || (vma->vm_flags & VM_MERGEABLE)))
            bytes += vma->vm_end - vma->vm_start;
    return bytes > LOOKED_AT_MOST;
}

/* Advice: of madvise, of process_madvise. */
static bool is_advice(const struct oracle_op *op, u32 advice)
{
    return (is_call(op, ABI_madvise) && (u32)op->arg[2] == advice) ||
           (is_call(op, ABI_process_madvise) && (u32)op->arg[3] == advice);
}

static bool pageout(struct generator *g, const struct oracle_op *op)
{
    return is_advice(op, 21);
}

/* There is no swap on the machine. */
static bool pageout_to_swap(struct generator *g, const struct oracle_op *op)
{
    return is_advice(op, 21) && !g->host->no_swap;
}

static const struct rule {
    const char *name;
    u32 since; /* minor of the 6.x from which on it can be asked; 0: never */
    bool (*applies)(struct generator *g, const struct oracle_op *op);
    const char *reason;
} rules[] = {
    {"process_madvise", 13, any_process_madvise, "a process may give itself any advice since 6.13"},
    {"mremap", 17, any_mremap, "arguments are checked in another order, and several mappings move at once, since 6.17"},
    {"membarrier registrations", 3, registrations, "MEMBARRIER_CMD_GET_REGISTRATIONS is of 6.3"},
    {"populating several mappings", 12, populate, "MADV_POPULATE_* had other errors"},
    {"memfd flags", 3, noexec_seal, "MFD_EXEC and MFD_NOEXEC_SEAL are of 6.3"},
    {"locked on fault", 12, on_fault, "smaps had no name for it (?\?)"},
    {"MAP_STACK", 7, stack_flag, "stacks are without huge pages since 6.7"},
    {"over special mappings", 12, over_special, "mapping over a part of the vdso was -ENOMEM before 6.12"},
    {"limits", 12, limits, "a mapping refused for a limit had unmapped what lay there before 6.12"},
    {"refused late", 12, refused_after_unmapping, "what a refused mapping leaves behind changed with 6.12"},
    {"PR_SET_MEMORY_MERGE", 4, memory_merge, "of 6.4"},
    {"FALLOC_FL_WRITE_ZEROES", 17, write_zeroes, "of 6.17: an unknown mode comes before a descriptor that is not open"},
    {"execve", 3, execve_layout, "the auxiliary vector was shorter: the stack begins elsewhere"},
    {"F_SEAL_EXEC", 3, exec_seal, "of 6.3"},
    {"attaches of a segment", 16, shm_stat, "mappings with a close() joined less, and each piece counts"},
    {"mincore of zero pages", 16, zero_pages,
     "fork left them out where the mapping had no pages of its own; 6.18 makes larger mappings, which have some"},
    {"no longer accounted", 7, unaccounted,
     "mprotect() stops accounting what has no pages and cannot be written since 6.7"},
    {"MADV_PAGEOUT", 18, pageout, "what reclaim takes and leaves is 6.18's"},
    {"MADV_PAGEOUT with swap", 0, pageout_to_swap, "where there is some, anonymous pages go"},
    {"merging ends", 0, unmerge_much, "the kernel looks at each address of each mapping: minutes for terabytes"},
    {"rights of key 0", 0, key_of_all,
     "free once, it is the next to be had, for execute-only mappings, too: all memory with no other key goes away"},
};

const char *rule_against(struct generator *g, const struct oracle_op *op)
{
    const struct host *h = g->host;

    for (u32 i = 0; i < ARRAY_SIZE(rules); i++)
        if ((!rules[i].since || (h->major == 6 && h->minor < rules[i].since) || h->major < 6) &&
            rules[i].applies(g, op))
            return rules[i].name;
    return NULL;
}

void print_rules(const struct host *h, FILE *out)
{
    if (!h->joins)
        fprintf(
            out,
            "oracle: not seen here: cuts between mappings alike, and zero pages: a mapping without pages of its own "
            "did not join one with some before 6.16, and fork did not copy its tables\n");
    for (u32 i = 0; i < ARRAY_SIZE(rules); i++)
        if (!rules[i].since || (h->major == 6 && h->minor < rules[i].since))
            fprintf(out, "oracle: not asked here: %s: %s\n", rules[i].name, rules[i].reason);
}
