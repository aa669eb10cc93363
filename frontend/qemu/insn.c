/* SPDX-License-Identifier: MIT */
/*
 * Instructions without data accesses.
 *
 * Why. For each instruction that has an access callback and calls a helper function (jumps that look at computed flags,
 * vector operations between registers) qemu 7.2 keeps a list of the callbacks in its heap, 170 bytes, and sets and
 * clears a pointer to it whenever the instruction runs. A program like python has 20,000 of them.
 *
 * How. x86-64 instructions by opcode (Intel SDM vol. 2, appendix A): prefixes, opcode map, opcode, and where the ModRM
 * byte decides, its mod field: 3 names a register. What is not in the tables may access memory. Stack, string and
 * far operations are not in them, nor 0F F7 (MASKMOVDQU: memory behind a register that ModRM does not name).
 */
#include "insn.h"

enum operand {
    MAY_ACCESS,
    REGISTER_IF_MOD3, /* its only memory operand is ModRM's */
    NEVER,
};

struct opcodes {
    u8 first, last;
    u8 operand;
};

static const struct opcodes one_byte[] = {
    {0x63, 0x63, REGISTER_IF_MOD3},
    {0x69, 0x69, REGISTER_IF_MOD3},
    {0x6b, 0x6b, REGISTER_IF_MOD3},
    {0x70, 0x7f, NEVER}, /* Jcc */
    {0x80, 0x81, REGISTER_IF_MOD3},
    {0x83, 0x8b, REGISTER_IF_MOD3},
    {0x8d, 0x8d, NEVER}, /* LEA */
    {0x90, 0x99, NEVER},
    {0x9e, 0x9f, NEVER},
    {0xa8, 0xa9, NEVER},
    {0xb0, 0xbf, NEVER},
    {0xc0, 0xc1, REGISTER_IF_MOD3},
    {0xc6, 0xc7, REGISTER_IF_MOD3},
    {0xd0, 0xd3, REGISTER_IF_MOD3},
    {0xe9, 0xe9, NEVER}, /* JMP */
    {0xeb, 0xeb, NEVER},
    {0xf5, 0xf5, NEVER},
    {0xf6, 0xf7, REGISTER_IF_MOD3},
    {0xf8, 0xf9, NEVER},
    {0xfc, 0xfd, NEVER},
    {0xfe, 0xff, REGISTER_IF_MOD3},
};

static const struct opcodes map_0f[] = {
    {0x10, 0x17, REGISTER_IF_MOD3},
    {0x1e, 0x1e, REGISTER_IF_MOD3},
    {0x1f, 0x1f, NEVER}, /* NOP, whatever its operand */
    {0x28, 0x2f, REGISTER_IF_MOD3},
    {0x31, 0x31, NEVER},
    {0x40, 0x4f, REGISTER_IF_MOD3},
    {0x50, 0x76, REGISTER_IF_MOD3},
    {0x77, 0x77, NEVER},
    {0x7c, 0x7f, REGISTER_IF_MOD3},
    {0x80, 0x8f, NEVER}, /* Jcc */
    {0x90, 0x9f, REGISTER_IF_MOD3},
    {0xa2, 0xa2, NEVER},
    {0xa3, 0xa5, REGISTER_IF_MOD3},
    {0xab, 0xad, REGISTER_IF_MOD3},
    {0xaf, 0xb1, REGISTER_IF_MOD3},
    {0xb3, 0xb3, REGISTER_IF_MOD3},
    {0xb6, 0xb8, REGISTER_IF_MOD3},
    {0xba, 0xc2, REGISTER_IF_MOD3},
    {0xc4, 0xc6, REGISTER_IF_MOD3},
    {0xc8, 0xcf, NEVER}, /* BSWAP */
    {0xd0, 0xe6, REGISTER_IF_MOD3},
    {0xe8, 0xef, REGISTER_IF_MOD3},
    {0xf1, 0xf6, REGISTER_IF_MOD3},
    {0xf8, 0xfe, REGISTER_IF_MOD3},
};

/* Of the maps 0F 38 and 0F 3A every instruction has a ModRM byte. */
static const struct opcodes map_0f38[] = {{0x00, 0xff, REGISTER_IF_MOD3}};

static enum operand find(const struct opcodes *o, size_t n, u8 opcode)
{
    for (; n; n--, o++)
        if (opcode >= o->first && opcode <= o->last)
            return o->operand;
    return MAY_ACCESS;
}

/* ADD ... CMP: four forms with a ModRM byte, two with an immediate operand. */
static enum operand find_one_byte(u8 opcode)
{
    if (opcode < 0x40)
        return (opcode & 7) < 4 ? REGISTER_IF_MOD3 : (opcode & 7) < 6 ? NEVER : MAY_ACCESS;
    return find(one_byte, ARRAY_SIZE(one_byte), opcode);
}

static enum operand find_in_map(u32 map, u8 opcode)
{
    if (map == 1)
        return find(map_0f, ARRAY_SIZE(map_0f), opcode);
    return map == 2 || map == 3 ? find(map_0f38, ARRAY_SIZE(map_0f38), opcode) : MAY_ACCESS;
}

static bool is_prefix(u8 byte)
{
    return byte == 0x66 || byte == 0x67 || byte == 0xf2 || byte == 0xf3 || byte == 0x2e || byte == 0x36 ||
           byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65;
}

/* The map of the opcode at code[*at]; 0: one-byte opcodes. *at: moved behind prefixes and escapes. */
static u32 opcode_map(const u8 *code, size_t len, size_t *at)
{
    size_t n = *at;
    u32 map = 0;

    while (n < len && is_prefix(code[n]))
        n++;
    if (n + 2 < len && code[n] == 0xc5) { /* VEX */
        map = 1;
        n += 2;
    } else if (n + 3 < len && code[n] == 0xc4) {
        map = code[n + 1] & 0x1f;
        n += 3;
    } else {
        if (n < len && code[n] >> 4 == 4) /* REX */
            n++;
        if (n + 1 < len && code[n] == 0x0f) {
            n++;
            map = code[n] == 0x38 ? 2 : code[n] == 0x3a ? 3 : 1;
            n += map > 1;
        }
    }
    *at = n;
    return map;
}

static bool x86_without_memory(const u8 *code, size_t len)
{
    size_t at = 0;
    u32 map = opcode_map(code, len, &at);
    enum operand operand;
    u8 opcode;

    if (at >= len)
        return false;
    opcode = code[at];
    operand = map ? find_in_map(map, opcode) : find_one_byte(opcode);
    if (operand != REGISTER_IF_MOD3)
        return operand == NEVER;
    if (at + 1 >= len || code[at + 1] >> 6 != 3)
        return false;
    if (map == 0 && opcode == 0xff) /* INC, DEC, JMP; not CALL and PUSH */
        return (code[at + 1] >> 3 & 7) < 2 || (code[at + 1] >> 3 & 7) == 4;
    return true;
}

bool insn_without_memory(enum guest_arch arch, const u8 *code, size_t len)
{
    return arch == GUEST_X86_64 && x86_without_memory(code, len);
}
