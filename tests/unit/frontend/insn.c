/* SPDX-License-Identifier: MIT */
/* Instructions that need no access callback: those that may access memory must never be taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "insn.h"

struct instruction {
    const char *text;
    size_t len;
    const char *code;
    bool without;
};

#define I(text, code, without)                                                                                         \
    {                                                                                                                  \
        text, sizeof(code) - 1, code, without                                                                          \
    }

static const struct instruction table[] = {
    I("add eax, ecx", "\x01\xc8", true),
    I("add [rax], ecx", "\x01\x08", false),
    I("add rax, [rip]", "\x48\x03\x05\x00\x00\x00\x00", false),
    I("cmp al, 1", "\x3c\x01", true),
    I("push rax", "\x50", false),
    I("pop r8", "\x41\x58", false),
    I("jne", "\x75\x10", true),
    I("jne near", "\x0f\x85\x00\x00\x00\x00", true),
    I("jmp", "\xeb\x00", true),
    I("jmp rax", "\xff\xe0", true),
    I("notrack jmp rdx", "\x3e\xff\xe2", true),
    I("jmp [rax]", "\xff\x20", false),
    I("call rax", "\xff\xd0", false),
    I("call", "\xe8\x00\x00\x00\x00", false),
    I("push with FF", "\xff\xf0", false),
    I("inc eax", "\xff\xc0", true),
    I("inc [rax]", "\xff\x00", false),
    I("ret", "\xc3", false),
    I("rep ret", "\xf3\xc3", false),
    I("leave", "\xc9", false),
    I("enter", "\xc8\x00\x00\x00", false),
    I("lea rax, [rbx + 8]", "\x48\x8d\x43\x08", true),
    I("mov eax, [address]", "\xa1\x00\x00\x00\x00\x00\x00\x00\x00", false),
    I("movs", "\xa4", false),
    I("rep stos", "\xf3\x48\xab", false),
    I("test al, 1", "\xa8\x01", true),
    I("xlat", "\xd7", false),
    I("fadd st", "\xd8\xc1", false),
    I("fld [rax]", "\xd9\x00", false),
    I("pushf", "\x9c", false),
    I("loop", "\xe2\x00", false),
    I("lock inc [rax]", "\xf0\xff\x00", false),
    I("nop", "\x90", true),
    I("nop [rax]", "\x66\x0f\x1f\x44\x00\x00", true),
    I("endbr64", "\xf3\x0f\x1e\xfa", true),
    I("syscall", "\x0f\x05", false),
    I("cpuid", "\x0f\xa2", true),
    I("xgetbv", "\x0f\x01\xd0", false),
    I("fxsave", "\x0f\xae\x00", false),
    I("lfence", "\x0f\xae\xe8", false),
    I("cmpxchg16b", "\x48\x0f\xc7\x0f", false),
    I("cmpxchg ecx, eax", "\x0f\xb1\xc1", true),
    I("bt [rax], ecx", "\x0f\xa3\x08", false),
    I("push fs", "\x0f\xa0", false),
    I("pop gs", "\x0f\xa9", false),
    I("movaps xmm, xmm", "\x0f\x28\xc1", true),
    I("movaps xmm, [rax]", "\x0f\x28\x00", false),
    I("pcmpeqb xmm, xmm", "\x66\x0f\x74\xc1", true),
    I("pcmpeqb xmm8, [r8]", "\x66\x45\x0f\x74\x00", false),
    I("maskmovdqu", "\x66\x0f\xf7\xc1", false),
    I("vmaskmovdqu", "\xc5\xf9\xf7\xc1", false),
    I("pshufb xmm, xmm", "\x66\x0f\x38\x00\xc1", true),
    I("pshufb xmm, [rax]", "\x66\x0f\x38\x00\x00", false),
    I("pcmpistri xmm, [rax]", "\x66\x0f\x3a\x63\x00\x1a", false),
    I("vpxor ymm, ymm, ymm", "\xc5\xfd\xef\xc0", true),
    I("vmovdqu ymm, [rax]", "\xc5\xfe\x6f\x00", false),
    I("vpbroadcastb ymm, xmm", "\xc4\xe2\x7d\x78\xc0", true),
    I("vpgatherdd", "\xc4\xe2\x75\x90\x04\x08", false),
    I("vzeroupper", "\xc5\xf8\x77", true),
    I("REX before a prefix is none", "\x48\x66\x01\xc8", false),
};

static void test_table(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct instruction *in = &table[i];
        const u8 *code = (const u8 *)in->code;

        if (insn_without_memory(GUEST_X86_64, code, in->len) != in->without)
            fail_msg("%s: %s", in->text, in->without ? "not found" : "taken for one without memory");
        assert_false(insn_without_memory(GUEST_AARCH64, code, in->len));
        assert_false(insn_without_memory(GUEST_RISCV64, code, in->len));
    }
}

/* Bytes that end early, in a block of their own so that sanitizers see a read behind them. */
static void test_cut_short(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        for (size_t len = 0; len < table[i].len; len++) {
            u8 *code = malloc(len ? len : 1);

            memcpy(code, table[i].code, len);
            insn_without_memory(GUEST_X86_64, code, len);
            free(code);
        }
    assert_false(insn_without_memory(GUEST_X86_64, (const u8 *)"\x66", 1));
    assert_false(insn_without_memory(GUEST_X86_64, (const u8 *)"\x01", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_cut_short)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
