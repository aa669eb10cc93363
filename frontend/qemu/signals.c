/* SPDX-License-Identifier: MIT */
/*
 * What of signals an execve would lose under qemu. Follows execve(2), signal(7), and experiments with qemu 7.2.
 *
 * A signal that comes to a thread outside of a system call of the host is taken by qemu's handler, which notes it for the
 * program, blocks all signals for itself until the program's handler begins or its default action ends the process, and
 * goes on. If the plugin then made its execve, the new program would never hear of the signal, and have all of them
 * blocked. So:
 *
 *     signals_hold()   blocks all; false if qemu has noted one: no execve now; qemu's own, which the callback returns to,
 *                      sees it, lets the program have it, and begins anew if that does not end it
 *     execve           with all blocked: what comes now waits in the kernel. The mask travels with the plugin's options
 *     signals_begin()  in the new qemu, before it has handlers: the mask is the program's, and what has waited acts
 *
 * How to know that qemu has noted one: its handler blocks the signals 32 and 33, too, which are glibc's own, and which
 * no mask that is set through glibc has. signals_begin() unblocks them, should whoever started us have them blocked.
 *
 * Ignored signals stay ignored by execve. qemu installs handlers for those that end programs, although the program was
 * started with them ignored (nohup, a shell's `&`), and execve sets handlers to the default. So they are ignored for
 * the execve, unless the program has called rt_sigaction for them: then qemu has done as it says.
 */
#define _GNU_SOURCE
#include "signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/types.h"

#define BIT_OF(sig) (1ull << ((sig)-1))
#define GLIBC_FIRST 32
#define GLIBC_SECOND 33
#define FAULTS (BIT_OF(SIGSEGV) | BIT_OF(SIGBUS)) /* never blocked by qemu: the program's memory may be read */

static _Atomic u64 ignored; /* since the process began, and not touched */

/* Not through glibc, which hides its own signals. */
static u64 set_mask(int how, u64 set)
{
    u64 old = 0;

    syscall(SYS_rt_sigprocmask, how, &set, &old, sizeof(set));
    return old;
}

void signals_begin(const u64 *mask)
{
    struct sigaction sa;
    u64 now = 0;

    for (int sig = 1; sig < GLIBC_FIRST; sig++)
        if (!sigaction(sig, NULL, &sa) && sa.sa_handler == SIG_IGN)
            now |= BIT_OF(sig);
    atomic_store(&ignored, now);
    if (mask)
        set_mask(SIG_SETMASK, *mask);
    set_mask(SIG_UNBLOCK, BIT_OF(GLIBC_FIRST) | BIT_OF(GLIBC_SECOND));
}

void signals_action(u64 sig)
{
    if (sig > 0 && sig < GLIBC_FIRST)
        atomic_fetch_and(&ignored, ~BIT_OF(sig));
}

static void for_each_ignored(void (*act)(struct signals_held *h, int sig), struct signals_held *h)
{
    for (int sig = 1; sig < GLIBC_FIRST; sig++)
        if (h->ignored & BIT_OF(sig))
            act(h, sig);
}

static void ignore(struct signals_held *h, int sig)
{
    struct sigaction ign = {.sa_handler = SIG_IGN};

    sigaction(sig, &ign, &h->handler[sig]);
}

static void handle_again(struct signals_held *h, int sig)
{
    sigaction(sig, &h->handler[sig], NULL);
}

bool signals_hold(struct signals_held *h)
{
    h->mask = set_mask(SIG_BLOCK, ~FAULTS);
    h->ignored = atomic_load(&ignored);
    if (h->mask & BIT_OF(GLIBC_FIRST)) {
        set_mask(SIG_SETMASK, h->mask);
        return false;
    }
    return true;
}

void signals_ignore(struct signals_held *h)
{
    for_each_ignored(ignore, h);
}

void signals_release(struct signals_held *h)
{
    for_each_ignored(handle_again, h);
    set_mask(SIG_SETMASK, h->mask);
}
